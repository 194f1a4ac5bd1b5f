"""GPUs by the numbers that a process knows them by, and as CUDA names them outside it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

VISIBLE: Final = "CUDA_VISIBLE_DEVICES"


def named(gpus: Sequence[int], environment: Mapping[str, str]) -> str:
    """The value of VISIBLE for a process that is to see these GPUs alone.

    Args:
        gpus: their numbers in this process, which may itself see only some.
        environment: this process's.
    """
    seen = environment.get(VISIBLE)
    names = [name.strip() for name in seen.split(",")] if seen else None
    return ",".join(names[gpu] if names else str(gpu) for gpu in gpus)
