"""Ctrl-C without a torn step."""

from __future__ import annotations

import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType

from rvpo.runtime.launch import stop_signals
from rvpo.runtime.ranks import Ranks


class Interrupt:
    """The first of the signals asks for a stop after the step; the second stops at once."""

    def __init__(self, ranks: Ranks, say: Callable[[str], None]) -> None:
        self._ranks = ranks
        self._say = say
        self._signalled = False

    @contextmanager
    def listening(self) -> Iterator[None]:
        """Take over the signals for the time of the block."""
        previous = {number: signal.getsignal(number) for number in stop_signals()}
        for number in previous:
            signal.signal(number, self._take)
        try:
            yield
        finally:
            for number, handler in previous.items():
                signal.signal(number, handler)

    def requested(self) -> bool:
        """True where any rank was asked to stop. A collective: every rank must ask."""
        return self._ranks.any(self._signalled)

    def _take(self, number: int, frame: FrameType | None) -> None:
        if self._signalled:
            raise KeyboardInterrupt
        self._signalled = True
        self._say("stopping after this step; once more stops at once")
