"""Reading what `torch.save` wrote without running any of it."""

from __future__ import annotations

import re
from pickle import UnpicklingError
from typing import Any

import torch
from deepspeed.runtime.checkpoint_engine import TorchCheckpointEngine
from deepspeed.runtime.fp16.loss_scaler import LossScaler
from deepspeed.runtime.zero.config import ZeroStageEnum

from rvpo.errors import CheckpointError

ALLOWED = (LossScaler, ZeroStageEnum)
"""Types that DeepSpeed writes beside tensors and plain values: both are data and run nothing."""


class PlainLoad(TorchCheckpointEngine):  # type: ignore[misc]
    """DeepSpeed's way to the files of a checkpoint, but for tensors and plain values alone.

    A pickle can name any function and call it while it is read, so whoever can write a file of a
    run's folder could run code in the process that resumes it.
    """

    def load(self, path: str, map_location: Any = None) -> Any:
        """See `TorchCheckpointEngine.load`.

        Raises:
            CheckpointError: the file holds something else.
        """
        try:
            with torch.serialization.safe_globals(list(ALLOWED)):
                return torch.load(path, map_location=map_location, weights_only=True)
        except UnpicklingError as error:
            named = re.search(r"GLOBAL (\S+)", str(error))
            what = f"'{named[1]}'" if named else "something"
            raise CheckpointError(
                f"{path} asks for {what}, which is neither tensors nor plain values and could run "
                "code, so it is not read"
            ) from error
