"""The memory of a GPU, all its processes together."""

from __future__ import annotations

import threading
from collections.abc import Callable
from types import TracebackType

import torch

GIB = 2**30


def used() -> float:
    """GiB that nobody else can have."""
    free, total = torch.cuda.mem_get_info()
    return (total - free) / GIB


def total() -> float:
    """GiB of the card, as its driver counts them."""
    return torch.cuda.mem_get_info()[1] / GIB


class Peak:
    """The most memory in use while a block runs, looked at a hundred times a second.

    Args:
        read: GiB in use.
    """

    def __init__(self, read: Callable[[], float] = used) -> None:
        self.gib = 0.0
        self._read = read
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._watch, name="peak")

    def __enter__(self) -> Peak:
        self._look()
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._over.set()
        self._thread.join()
        self._look()

    def _watch(self) -> None:
        while not self._over.wait(0.01):
            self._look()

    def _look(self) -> None:
        self.gib = max(self.gib, self._read())
