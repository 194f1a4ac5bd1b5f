"""Python runs this when it starts with this folder on its path: see `performance.files_crossed`."""

from __future__ import annotations

import atexit
import json
import os
import sys
import threading
from pathlib import Path
from types import CodeType
from typing import Any

from performance.follower import Follower


def follow() -> None:
    """Follow in this process what a file tells."""
    told = json.loads(Path(os.environ["FILES_CROSSED"]).read_text())

    def at_point(code: CodeType, result: Any) -> bool:
        return code.co_name == "log" and code.co_filename.endswith("wandb_run.py")

    def at_advantage(code: CodeType, result: Any) -> bool:
        return type(result).__name__ == "Advantages" and bool(follower.found(result))

    follower = Follower(
        package=told["package"],
        texts=told["texts"],
        numbers=told["numbers"],
        goal=at_advantage if told["is_verdict"] else at_point,
        out=Path(told["out"]),
    )
    if "train" in sys.orig_argv:
        from torch.overrides import TorchFunctionMode

        class Made(TorchFunctionMode):
            """What PyTorch makes of what is followed is followed."""

            def __torch_function__(
                self, func: Any, types: Any, args: Any = (), kwargs: Any = None
            ) -> Any:
                result = func(*args, **(kwargs or {}))
                if not follower.done and follower.found((args, kwargs)):
                    follower.learn(result)
                return result

        Made().__enter__()
    atexit.register(lambda: follower.done or follower.write())
    threading.setprofile(follower)
    sys.setprofile(follower)


if "FILES_CROSSED" in os.environ:
    follow()
