"""bf16 on processors: in instructions of their own, or by way of fp32, which takes several times as
long."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Final

import torch

_INSTRUCTIONS: Final = ("amx_bf16", "avx512_bf16", "bf16", "sve_bf16")
"""Those that multiply in bf16, of x86 and of ARM, as torch names them."""


def has_bf16(processor: Mapping[str, Any] | None = None) -> bool:
    """True where a processor multiplies in bf16.

    Args:
        processor: its capabilities, by torch's names; None for this one's.
    """
    can = torch.cpu.get_capabilities() if processor is None else processor
    return any(can.get(name) for name in _INSTRUCTIONS)


def slow_precision(
    settings: Mapping[str, str], *, on_gpu: bool, processor: Mapping[str, Any] | None = None
) -> Iterator[str]:
    """A line for each setting that has a processor without such instructions compute in bf16.

    Args:
        settings: number formats by the names of their settings.
        processor: see `has_bf16`.
    """
    if on_gpu or has_bf16(processor):
        return
    for name in (name for name, precision in settings.items() if precision == "bf16"):
        yield (
            f"this processor has no instructions for bf16: {name}=fp32 is several times faster "
            "here, at twice the memory"
        )
