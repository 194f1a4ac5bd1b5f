"""Gets questions answered.

From the cache, from a call already under way, or by asking until an endpoint gives a readable
verdict or the attempts are used up.
"""

from __future__ import annotations

import asyncio
import random
from collections import Counter, deque
from contextlib import suppress
from dataclasses import dataclass, field, replace
from typing import Final, Self

from rvpo.config.judge import JudgeConfig
from rvpo.judge.types import Answer, Job, Usage
from rvpo.judge.verdict import Unreadable, is_graded, read
from rvpo.judge.worker.cache import Cache, CacheError
from rvpo.judge.worker.connection import open_session
from rvpo.judge.worker.endpoint import SCHEMA_REFUSED, Endpoint, Permit, all_endpoints
from rvpo.judge.worker.form import Try
from rvpo.judge.worker.refusal import Failure
from rvpo.judge.worker.reply import CallFailed, Reply
from rvpo.judge.worker.request import Request
from rvpo.judge.worker.router import NoEndpoint, Router
from rvpo.judge.worker.scoring import renderer_of

FIRST_BACKOFF_S: Final = 0.5
LONGEST_BACKOFF_S: Final = 8.0
HEDGE_SAMPLES: Final = 20
"""Latencies that must be known before a slow call can be told from a usual one."""

_RECENT: Final = 200


@dataclass(slots=True, eq=False)
class _Asking:
    """Progress of one question."""

    request: Request
    started: float
    deadline: float
    attempts: int = 0
    resamples: int = 0
    plain: bool = False  # asks without the schema from now on
    refused_by: Endpoint | None = None  # that did not take the schema
    denied_by: set[Endpoint] = field(default_factory=set)
    sent: int = 0
    hedges: int = 0
    parse_failures: int = 0
    input_tokens: int = 0
    output_tokens: int = 0
    cost: float = 0.0
    failures: Counter[str] = field(default_factory=Counter)
    model: str = ""  # of the last reply
    is_other: bool = False
    news: tuple[str, ...] = ()

    def usage(self, now: float) -> Usage:
        return Usage(
            requests=self.sent,
            retries=self.sent - self.hedges - 1,
            hedges=self.hedges,
            parse_failures=self.parse_failures,
            input_tokens=self.input_tokens,
            output_tokens=self.output_tokens,
            cost=self.cost,
            latency_s=now - self.started,
            attempt_failures=dict(self.failures),
            other_model=self.is_other,
        )


@dataclass(slots=True, eq=False)
class _Flight:
    """A question being asked, and how many jobs wait for its answer."""

    task: asyncio.Task[Answer]
    passengers: int = 0


class Asker:
    """Answers jobs. Used as an async context, which opens and closes its connections and cache.

    A question is asked up to `config.attempts` times within `config.deadline_s` of its first
    call. Waiting out a 429 takes from the deadline and is no attempt; neither is a call that shows
    an endpoint to be broken, or to refuse schemas.

    Args:
        config: one that names endpoints.
        share: (index, count) of this worker among those that divide the endpoints' limits.

    Raises:
        ConfigError: a key is missing, limits cannot be divided, or the cache cannot be used.
    """

    def __init__(self, config: JudgeConfig, share: tuple[int, int] = (0, 1)) -> None:
        self._config = config
        self._endpoints = all_endpoints(config, share)
        self._cache = None if config.cache is None else Cache(config.cache)
        self._renderer = renderer_of(config)
        self._flights: dict[bytes, _Flight] = {}
        self._latencies: deque[float] = deque(maxlen=_RECENT)

    @property
    def concurrency(self) -> int:
        """Most calls in flight at once."""
        return sum(endpoint.concurrency for endpoint in self._endpoints)

    async def __aenter__(self) -> Self:
        self._router = Router(self._endpoints, self._config.deadline_s)
        sockets = {endpoint.socket for endpoint in self._endpoints}
        self._sessions = {socket: open_session(socket) for socket in sockets}
        return self

    async def __aexit__(self, *_: object) -> None:
        tasks = [flight.task for flight in self._flights.values()]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        for session in self._sessions.values():
            await session.close()
        await asyncio.sleep(0)  # in which the loop closes the sockets of the last calls
        if self._cache is not None:
            await self._cache.close()

    async def answer(self, job: Job) -> list[Answer]:
        """One answer per question, in their order. Cancelling it cancels what only it waits for."""
        found = [self._find(self._renderer.render(job, question)) for question in job.questions]
        flights = [item[0] for item in found if not isinstance(item, Answer)]
        for flight in flights:
            flight.passengers += 1
        try:
            if flights:
                await asyncio.wait({flight.task for flight in flights})
            return [item if isinstance(item, Answer) else _landed(*item) for item in found]
        finally:
            for flight in flights:
                flight.passengers -= 1
                if not flight.passengers:
                    flight.task.cancel()

    def _find(self, request: Request) -> Answer | tuple[_Flight, bool]:
        """An answer that is known, or the flight that will bring it and whether others began it."""
        flight = self._flights.get(request.key)
        if flight is not None and not flight.task.cancelling():
            return flight, True
        if self._cache is not None:
            try:
                known = self._cache.get(request.key, self._answers_as)
            except CacheError as error:
                return Answer(value=None, failure=str(error))
            # Only a grade lies between 0 and 1: a verdict that does is damaged.
            if known is not None and (is_graded(request.question) or known[0] in (0, 1)):
                return Answer(value=known[0], reason=known[1], usage=Usage(cached=True))
        flight = _Flight(asyncio.create_task(self._fly(request)))
        self._flights[request.key] = flight
        flight.task.add_done_callback(lambda _: self._forget(request.key, flight))
        return flight, False

    def _answers_as(self, model: str) -> bool:
        """True where a verdict that a model gave is one that would be given now."""
        return not model or any(e.answering.answers_as(model) for e in self._endpoints)

    def _forget(self, key: bytes, flight: _Flight) -> None:
        if self._flights.get(key) is flight:
            del self._flights[key]

    async def _fly(self, request: Request) -> Answer:
        answer = await self._ask(request)
        if self._cache is None or answer.value is None:
            return answer
        try:
            await self._cache.put(request.key, answer.value, answer.reason, answer.model)
        except CacheError as error:
            # What cannot be kept is not used: the run shall stop, and say why, not pay twice.
            return replace(answer, value=None, reason="", failure=str(error))
        return answer

    async def _ask(self, request: Request) -> Answer:
        try:
            permit = await self._router.permit(request.tokens)
        except NoEndpoint as error:
            return _lost(error.failure)
        loop = asyncio.get_running_loop()
        asking = _Asking(request, permit.started, permit.started + self._config.deadline_s)
        while True:
            try:
                value, reason = await self._attempt(asking, permit)
                return Answer(
                    value=value,
                    reason=reason,
                    model=asking.model,
                    news=asking.news,
                    usage=asking.usage(loop.time()),
                )
            except CallFailed as error:
                failure = error.failure
                goes_on = await self._recover(asking, error)
            if goes_on:
                with suppress(NoEndpoint):
                    permit = await self._router.permit_again(
                        request.tokens, permit.endpoint, asking.deadline
                    )
                    continue
            return replace(_lost(failure, asking.usage(loop.time())), news=asking.news)

    async def _recover(self, asking: _Asking, error: CallFailed) -> bool:
        """Do what helps after a failure and before another attempt. Returns whether one may
        follow."""
        if error.remedy in ("retry", "resample"):
            asking.attempts += 1
        if error.remedy == "none" or asking.attempts >= self._config.attempts:
            return False
        if error.remedy == "switch":
            left = (e for e in self._endpoints if e.broken is None and e not in asking.denied_by)
            return any(left)
        if error.remedy == "plain":
            asking.plain = True
        elif error.remedy == "resample":
            asking.resamples += 1
        elif error.remedy in ("retry", "wait"):
            # Full jitter (Brooker, "Exponential Backoff And Jitter", 2015).
            # The endpoint's own pause follows on a 429; there the calls only need spreading.
            doublings = asking.attempts - 1 if error.remedy == "retry" else 0
            longest = FIRST_BACKOFF_S * 2.0 ** min(10, doublings)
            pause = random.uniform(0, min(LONGEST_BACKOFF_S, longest))
            now = asyncio.get_running_loop().time()
            if now + pause >= asking.deadline:
                return False
            await asyncio.sleep(pause)
        return True

    async def _attempt(self, asking: _Asking, permit: Permit) -> tuple[float, str]:
        """One call, and a second one beside it where the first is slow.

        Raises:
            CallFailed: neither was readable; the later failure.
        """
        delay = self._usual_latency()
        if delay is None:
            return await self._call(asking, permit)
        loop = asyncio.get_running_loop()
        started = loop.time()
        first = asyncio.create_task(self._call(asking, permit))
        calls = {first}
        try:
            await asyncio.wait(calls, timeout=delay)
            if not first.done():
                extra = self._router.permit_now(asking.request.tokens, permit.endpoint)
                if extra is not None:
                    asking.hedges += 1
                    calls.add(asyncio.create_task(self._call(asking, extra)))
            while True:
                done, waiting = await asyncio.wait(calls, return_when=asyncio.FIRST_COMPLETED)
                readable = [call for call in done if call.exception() is None]
                if readable and first in waiting:
                    # At least this long. Left out, slow calls would vanish from what is usual.
                    self._latencies.append(loop.time() - started)
                if readable or not waiting:
                    return (readable or list(done))[0].result()
                calls = waiting
        finally:
            for call in calls:
                call.cancel()
            await asyncio.gather(*calls, return_exceptions=True)

    async def _call(self, asking: _Asking, permit: Permit) -> tuple[float, str]:
        """
        Raises:
            CallFailed: no readable verdict came back.
        """
        endpoint = permit.endpoint
        started = asyncio.get_running_loop().time()
        is_free = self._config.structured and not asking.plain
        tried = endpoint.form.begin() if is_free else Try(False)
        body = self._renderer.body(
            asking.request,
            endpoint.model,
            with_schema=tried.with_schema,
            resamples=asking.resamples,
        )
        timeout_s = min(self._config.timeout_s, asking.deadline - started)
        asking.sent += 1
        try:
            session = self._sessions[endpoint.socket]
            reply = await endpoint.call(session, permit, body, timeout_s, tried)
            self._router.heard()
            if asking.refused_by is endpoint:
                asking.refused_by = None
                endpoint.form.conclude()
            asking.model = reply.model
            asking.is_other = endpoint.answering.is_other(reply.model)
            value, reason = self._read(asking, endpoint, reply, tried.with_schema)
            self._latencies.append(asyncio.get_running_loop().time() - started)
            return value, endpoint.without_key(reason)
        except CallFailed as error:
            if error.failure.reason == SCHEMA_REFUSED:
                asking.refused_by = endpoint
            elif error.remedy == "switch":
                asking.denied_by.add(endpoint)
            elif error.remedy in ("plain", "resample"):
                asking.parse_failures += 1
            asking.failures[error.failure.reason] += 1
            self._router.failed(error.failure)
            raise
        finally:
            asking.news += endpoint.news()
            endpoint.form.end(tried)
            self._router.leave(permit)

    def _read(
        self, asking: _Asking, endpoint: Endpoint, reply: Reply, with_schema: bool
    ) -> tuple[float, str]:
        asking.input_tokens += reply.input_tokens
        asking.output_tokens += reply.output_tokens
        asking.cost += reply.cost
        if asking.request.question.kind == "score":  # which was read with the reply
            return 1.0, reply.text
        cut = reply.cut
        try:
            return read(asking.request.question, reply.text, cut=cut)
        except Unreadable as error:
            if not reply.text.strip():  # an empty reply is an overload more often than an answer
                raise CallFailed(str(error), "plain" if with_schema else "retry") from None
            reason = "truncated" if cut else str(error)
            raise CallFailed(reason, "resample", endpoint.detail(reply.text)) from None

    def _usual_latency(self) -> float | None:
        """Seconds beyond which a call is slow; None where that is not asked for or not known."""
        quantile = self._config.hedge_quantile
        if quantile is None or len(self._latencies) < HEDGE_SAMPLES:
            return None
        return sorted(self._latencies)[int(quantile * len(self._latencies))]


def _lost(failure: Failure, usage: Usage | None = None) -> Answer:
    return Answer(value=None, failure=failure.reason, detail=failure.detail, usage=usage or Usage())


def _landed(flight: _Flight, joined: bool) -> Answer:
    answer = flight.task.result()
    return replace(answer, usage=Usage(cached=True)) if joined else answer
