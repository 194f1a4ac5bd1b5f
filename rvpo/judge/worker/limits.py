"""Limits of an endpoint: rates per minute, a window of calls in flight, and a breaker.

Nothing here waits or reads a clock. Times are seconds of one monotonic clock, given by the caller,
and a moment that depends on calls still in flight is infinity.
"""

from __future__ import annotations

import math
from collections import deque
from typing import Final

WINDOW_S: Final = 61.0
"""A minute, and a second for what lies between our clock and the server's."""
BURST_S: Final = 1.0
"""Seconds of a minute's allowance that may go out at once."""
MOST_FAILURES: Final = 10
"""Failures in a row that open the breaker."""
FIRST_PAUSE_S: Final = 1.0
LONGEST_PAUSE_S: Final = 10.0
"""Pauses between trials of a server that failed, doubling from the first to the longest."""


def share_of(limit: int, index: int, count: int) -> int:
    """One worker's part of a limit; the parts of all `count` workers add up to it."""
    return limit // count + (index < limit % count)


class Pace:
    """Pace of at most `limit` units in any minute, spread evenly.

    A unit counts from its reservation until a minute after it was settled. So the limit holds
    whether the server counts a call when it arrives or when it is answered.

    Args:
        limit: units per minute, at least 1. A call of more units is treated as one of `limit`.
    """

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._counted = 0
        self._settled: deque[tuple[float, int]] = deque()  # (when forgotten, units)
        self._paid_at = -math.inf  # when an even flow will have let through the units so far

    def ready_at(self, now: float, units: int) -> float:
        """Moment from which `units` more may go out; not after `now` if they may at once."""
        while self._settled and self._settled[0][0] <= now:
            self._counted -= self._settled.popleft()[1]
        moment = self._paid_at - BURST_S
        excess = self._counted + min(units, self._limit) - self._limit
        for forgotten_at, freed in self._settled:
            if excess <= 0:
                break
            excess -= freed
            moment = max(moment, forgotten_at)
        return moment if excess <= 0 else math.inf

    def reserve(self, now: float, units: int) -> int:
        """Count `units` as going out now. Returns what to `settle`."""
        units = min(units, self._limit)
        self._counted += units
        self._paid_at = max(now, self._paid_at) + units * WINDOW_S / self._limit
        return units

    def settle(self, now: float, reserved: int, units: int) -> None:
        """Replace a reservation by the units it turned out to be."""
        self._counted += units - reserved
        self._paid_at += (units - reserved) * WINDOW_S / self._limit
        if units:
            self._settled.append((now + WINDOW_S, units))


class Window:
    """Number of calls that may be in flight: more while all goes well, half when the server says
    stop.

    Additive increase, multiplicative decrease, as TCP does (Chiu and Jain, 1989).
    """

    def __init__(self, most: int) -> None:
        self.in_flight = 0
        self._most = most
        self._size = float(most)
        self._halved_at = -math.inf

    @property
    def has_room(self) -> bool:
        return self.in_flight < int(self._size)

    @property
    def load(self) -> float:
        """Calls in flight as a share of the window."""
        return self.in_flight / self._size

    def grow(self) -> None:
        """Widen the window after a success: by one per round trip of a full window."""
        self._size = min(float(self._most), self._size + 1 / self._size)

    def halve(self, now: float, started: float) -> bool:
        """Narrow the window after a call that began at `started` was refused.

        Returns:
            False if the window was halved since that call began: one overload is told to every
            call in flight, and is answered once.
        """
        if started < self._halved_at:
            return False
        self._halved_at = now
        self._size = max(1.0, self._size / 2)
        return True


class Breaker:
    """Leaves a server alone that does nothing but fail; one call at a time tries it, ever rarer.

    A call that began before the last success tells nothing about what happened since: calls that
    time out do so together, long after others were answered.
    """

    def __init__(self) -> None:
        self._failures = 0  # in a row
        self._pause_s = FIRST_PAUSE_S
        self._until = -math.inf
        self._succeeded_at = -math.inf

    def ready_at(self) -> float:
        return self._until if self._failures >= MOST_FAILURES else -math.inf

    def enter(self, now: float) -> None:
        """A call begins. If it is a trial, the next has to wait."""
        if self._failures >= MOST_FAILURES:
            self._until = now + self._pause_s
            self._pause_s = min(LONGEST_PAUSE_S, 2 * self._pause_s)

    def succeed(self, now: float) -> None:
        self._failures = 0
        self._pause_s = FIRST_PAUSE_S
        self._succeeded_at = now

    def fail(self, now: float, started: float) -> None:
        """A call that began at `started` failed."""
        if started < self._succeeded_at:
            return
        self._failures += 1
        if self._failures == MOST_FAILURES:
            self._until = now + self._pause_s
