"""A clock for the parts of a step."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Final

from rvpo.report.record import STEP_TIME

_DOING: Final = {
    "generate": "sampling",
    "score": "scoring",
    "update": "updating",
    "sync": "loading new weights",
    "report": "evaluating and saving",
}
"""Words of each phase for those who wait for it."""


class Clock:
    """Seconds of the phases of a step, under `timing/<phase>`.

    Args:
        step: its number, from 1 on.
        tell: hears what begins.
    """

    def __init__(self, step: int, tell: Callable[[str], None]) -> None:
        self._step = step
        self._tell = tell
        self._start = self._last = time.perf_counter()
        self._phase = ""
        self._laps: dict[str, float] = {}

    def begin(self, phase: str) -> None:
        """Begin a phase, with which the one before it ends."""
        now = time.perf_counter()
        if self._phase:
            self._laps[f"timing/{self._phase}"] = now - self._last
        self._last, self._phase = now, phase
        self._tell(f"{_DOING[phase]}, step {self._step}")

    def metrics(self) -> dict[str, float]:
        """All phases that have ended, and their sum: TRL's `step_time` has no optimizer and no sync
        in it."""
        return self._laps | {STEP_TIME: self._last - self._start}
