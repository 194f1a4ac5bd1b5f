"""Ctrl-C without a torn step."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from threading import Thread

from rvpo.runtime.ranks import Ranks
from rvpo.runtime.signals import on_stop


class Interrupt:
    """The first of the signals asks for a stop after the step; the second stops at once."""

    def __init__(self, ranks: Ranks, say: Callable[[str], None]) -> None:
        self._ranks = ranks
        self._say = say
        self._signalled = False

    def listening(self) -> AbstractContextManager[None]:
        """Take over the signals for the time of the block."""
        return on_stop(self._take)

    def requested(self) -> bool:
        """True where any rank was asked to stop. A collective: every rank must ask."""
        return self._ranks.any(self._signalled)

    def _take(self, number: int) -> None:
        if self._signalled:
            raise KeyboardInterrupt
        self._signalled = True
        # By another thread: a signal may come in the middle of a write, as that of a terminal that
        # closes does, and a stream that this thread is writing to takes no second write from it.
        words = "stopping after this step; once more stops at once"
        Thread(target=self._say, args=(words,)).start()
