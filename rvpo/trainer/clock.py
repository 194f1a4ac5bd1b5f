"""Where the time of a step goes."""

from __future__ import annotations

import time


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
        """All laps so far, and their sum as TRL's `step_time`."""
        return self._laps | {"step_time": self._last - self._start}
