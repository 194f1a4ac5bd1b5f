"""Peaks of a GPU's memory."""

from __future__ import annotations

from typing import Any

from rvpo.lazy import torch


class MemoryPeak:
    """The most memory of a GPU that is taken over a stretch of work, by all that is on it.

    torch knows the peak of its own pools alone, and takes those of a sleeping engine for full; the
    GPU knows what is taken at this moment, whoever has it. So the peak is what is taken at the end
    and what torch's pools have shrunk by since theirs. That holds as long as others on the GPU, and
    a sleeping engine, take as much at the peak as at the end.

    Args:
        device: the one of the work; a CPU has no peak.
        cuda: torch's interface to GPUs, if not `torch.cuda`.
    """

    def __init__(self, device: torch.device, cuda: Any = None) -> None:
        self._device = device
        self._cuda = cuda or torch.cuda

    def begin(self) -> None:
        """Forget what was before."""
        if self._device.type == "cuda":
            self._cuda.reset_peak_memory_stats(self._device)

    def end(self) -> int | None:
        """Bytes taken at most since `begin`; None on a CPU."""
        if self._device.type != "cuda":
            return None
        free, total = self._cuda.mem_get_info(self._device)
        highest = self._cuda.max_memory_reserved(self._device)
        shrunk: int = highest - self._cuda.memory_reserved(self._device)
        return int(total - free + shrunk)
