"""A clock for the parts of a step."""

from __future__ import annotations

import time

from rvpo.report.record import STEP_TIME


class Clock:
    """Seconds between laps, under `timing/<phase>`."""

    def __init__(self) -> None:
        self._start = self._last = time.perf_counter()
        self._laps: dict[str, float] = {}

    def lap(self, phase: str) -> None:
        """Give the time since the last lap to `phase`."""
        now = time.perf_counter()
        self._laps[f"timing/{phase}"] = now - self._last
        self._last = now

    def metrics(self) -> dict[str, float]:
        """All laps so far, and their sum: TRL's `step_time` has no optimizer and no sync in it."""
        return self._laps | {STEP_TIME: self._last - self._start}
