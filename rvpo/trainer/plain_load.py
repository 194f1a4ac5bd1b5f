"""Reading what `torch.save` wrote without running any of it."""

from __future__ import annotations

import re
from pathlib import Path
from pickle import UnpicklingError
from typing import Any

import torch

from rvpo.errors import CheckpointError


def load_plain(path: Path) -> Any:
    """The content of a file: tensors and plain values alone, and what DeepSpeed writes beside them.

    A pickle can name any function and call it while it is read, so whoever can write a file of a
    run's folder could run code in the process that resumes it. Tensors stay on the disk until
    they are looked at, as long as the file does.

    Raises:
        CheckpointError: the file holds something else.
    """
    # Both are data and run nothing.
    from deepspeed.runtime.fp16.loss_scaler import LossScaler
    from deepspeed.runtime.zero.config import ZeroStageEnum

    try:
        with torch.serialization.safe_globals([LossScaler, ZeroStageEnum]):
            return torch.load(path, map_location="cpu", mmap=True, weights_only=True)
    except UnpicklingError as error:
        named = re.search(r"GLOBAL (\S+)", str(error))
        what = f"'{named[1]}'" if named else "something"
        raise CheckpointError(
            f"{path} asks for {what}, which is neither tensors nor plain values and could run "
            "code, so it is not read"
        ) from error
