"""The router: who may ask which endpoint next."""

from __future__ import annotations

import asyncio
import math
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from rvpo.judge.worker.endpoint import Endpoint, Permit
from rvpo.judge.worker.refusal import Failure

STRANGER_PATIENCE_S: Final = 60.0
"""Seconds for which a judge may stay unreached from the start: after that its address is wrong, not
its day bad."""

_UNREACHED: Final = frozenset(("connection", "unknown host", "tls"))


class NoEndpoint(Exception):
    """There was no endpoint to ask in time."""

    def __init__(self, failure: Failure) -> None:
        super().__init__(failure.reason)
        self.failure = failure


@dataclass(slots=True, eq=False)
class _Waiter:
    tokens: int
    avoided: Endpoint | None
    granted: asyncio.Future[Permit]


class Router:
    """Hands out permits in the order of asking, those who ask again before those who ask first.

    Args:
        endpoints: those that share the load; calls avoid one that just failed them where another is
            ready.
        patience_s: seconds without a word of any endpoint, after which calls that wait to
            be made fail at once, except those by which that would change.
        stranger_patience_s: the same, where it is shorter, as long as no endpoint could ever be
            reached; then all calls that wait fail.
    """

    def __init__(
        self,
        endpoints: Sequence[Endpoint],
        patience_s: float,
        stranger_patience_s: float = STRANGER_PATIENCE_S,
    ) -> None:
        self._endpoints = tuple(endpoints)
        self._patience_s = patience_s
        self._stranger_patience_s = min(patience_s, stranger_patience_s)
        self._reached = False
        self._first: deque[_Waiter] = deque()
        self._again: deque[_Waiter] = deque()
        self._timer: asyncio.TimerHandle | None = None
        self._silent_since: float | None = None  # the first call that nothing was heard after
        self._last_failure: Failure | None = None
        self._loop = asyncio.get_running_loop()

    async def permit(self, tokens: int) -> Permit:
        """Wait for the right to a first call of an estimated number of tokens.

        Raises:
            NoEndpoint: all endpoints are broken, or silent.
        """
        return await self._wait(_Waiter(tokens, None, self._loop.create_future()), self._first)

    async def permit_again(self, tokens: int, avoided: Endpoint, deadline: float) -> Permit:
        """Wait for the right to another call, at most until `deadline`.

        Raises:
            NoEndpoint: all endpoints are broken, or the deadline passed.
        """
        waiter = _Waiter(tokens, avoided, self._loop.create_future())
        timer = self._loop.call_at(
            deadline, _fail, waiter, self._last_failure or Failure("deadline")
        )
        try:
            return await self._wait(waiter, self._again)
        finally:
            timer.cancel()

    def permit_now(self, tokens: int, avoided: Endpoint) -> Permit | None:
        """The right to an extra call, if nobody waits and an endpoint is ready."""
        if self._first or self._again:
            return None
        return self._grant(_Waiter(tokens, avoided, self._loop.create_future()))

    def leave(self, permit: Permit) -> None:
        """End a call."""
        permit.endpoint.leave(permit, self._loop.time())
        self._serve()

    def heard(self) -> None:
        """An endpoint replied."""
        self._silent_since = None
        self._reached = True

    def failed(self, failure: Failure) -> None:
        """A call failed."""
        self._last_failure = failure
        self._reached |= failure.reason not in _UNREACHED

    async def _wait(self, waiter: _Waiter, queue: deque[_Waiter]) -> Permit:
        queue.append(waiter)
        self._serve()
        try:
            return await waiter.granted
        except asyncio.CancelledError:
            granted = waiter.granted
            if not granted.cancelled() and granted.exception() is None:
                self.leave(granted.result())
            raise

    def _serve(self) -> None:
        """Grant what can be granted, and see to it that the next moment for that is not missed."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        for queue in (self._again, self._first):
            while queue:
                waiter = queue[0]
                if not waiter.granted.done():
                    permit = self._grant(waiter)
                    if permit is None:
                        self._hold()
                        return
                    waiter.granted.set_result(permit)
                queue.popleft()

    def _grant(self, waiter: _Waiter) -> Permit | None:
        now = self._loop.time()
        ready = [e for e in self._endpoints if e.ready_at(now, waiter.tokens) <= now]
        if not ready:
            return None
        endpoint = min(ready, key=lambda e: (e is waiter.avoided, e.load))
        if self._silent_since is None:
            self._silent_since = now
        return endpoint.enter(now, waiter.tokens)

    def _hold(self) -> None:
        """Nothing can be granted now: let fail what need not wait, and wake up for the rest."""
        broken = [e.broken for e in self._endpoints if e.broken is not None]
        if len(broken) == len(self._endpoints):
            for queue in (self._again, self._first):
                _fail_all(queue, broken[-1])
            return
        now = self._loop.time()
        tokens = (self._again or self._first)[0].tokens
        wake = min(endpoint.ready_at(now, tokens) for endpoint in self._endpoints)
        idle = (self._first,) if self._reached else (self._first, self._again)
        if any(idle) and self._silent_since is not None and self._last_failure is not None:
            given_up = self._silent_since + (
                self._patience_s if self._reached else self._stranger_patience_s
            )
            if now < given_up:
                wake = min(wake, given_up)
            else:
                for queue in idle:
                    _fail_all(queue, self._last_failure)
        if wake < math.inf and (self._first or self._again):
            self._timer = self._loop.call_at(wake, self._serve)


def _fail(waiter: _Waiter, failure: Failure) -> None:
    if not waiter.granted.done():
        waiter.granted.set_exception(NoEndpoint(failure))


def _fail_all(queue: deque[_Waiter], failure: Failure) -> None:
    for waiter in queue:
        _fail(waiter, failure)
    queue.clear()
