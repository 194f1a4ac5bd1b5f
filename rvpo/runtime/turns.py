"""Turns of threads at something that only one of them may use at a time."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from threading import Condition


class Turns:
    """A lock that is given in the order in which it was asked for.

    A thread that lets go of it and asks again comes after all that have waited meanwhile, so that
    nobody waits longer than one turn of each other thread.
    """

    def __init__(self) -> None:
        self._line: deque[object] = deque()
        self._moved = Condition()

    @contextmanager
    def turn(self) -> Iterator[None]:
        """Hold it for the time of the block. Whoever is interrupted while it waits leaves the
        line."""
        mine = object()
        with self._moved:
            self._line.append(mine)
        try:
            with self._moved:
                self._moved.wait_for(lambda: self._line[0] is mine)
            yield
        finally:
            with self._moved:
                self._line.remove(mine)
                self._moved.notify_all()
