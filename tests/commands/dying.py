"""A reward whose process is killed in the middle of a run, where a test asks for it."""

from __future__ import annotations

import os
import signal
from itertools import count
from typing import Any

from tests.toy import late

_calls = count(1)


def at_the_third_step(
    prompts: list[Any], completions: list[Any], completion_ids: list[list[int]], **columns: Any
) -> list[float | None]:
    if "RVPO_TEST_DIES" in os.environ and next(_calls) == 3:
        os.kill(os.getpid(), signal.SIGKILL)
    return late(prompts, completions, completion_ids)
