"""Gets questions answered.

From the cache, from a call already under way, or by asking until an endpoint gives a readable
verdict or the attempts are used up.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Self

from rvpo.config.judge import JudgeConfig
from rvpo.config.judges import OWN
from rvpo.judge.sheet import calls, company
from rvpo.judge.spending import Spending
from rvpo.judge.template import JudgeTemplate
from rvpo.judge.types import Answer, Job, Usage
from rvpo.judge.verdict import is_graded
from rvpo.judge.worker.cache import Cache, CacheError
from rvpo.judge.worker.caller import Caller
from rvpo.judge.worker.endpoint import all_endpoints
from rvpo.judge.worker.purse import Purse
from rvpo.judge.worker.request import Request
from rvpo.judge.worker.scoring import renderer_of


@dataclass(slots=True, eq=False)
class _Flight:
    """A question being asked, and how many jobs wait for its answer."""

    request: Request
    landed: asyncio.Future[Answer]
    call: _Call | None = None
    passengers: int = 0

    @property
    def is_lost(self) -> bool:
        """True where it is given up, and nobody may join it."""
        return self.call is not None and bool(self.call.task.cancelling())


@dataclass(slots=True, eq=False)
class _Call:
    """The questions asked together, which are given up only together."""

    flights: Sequence[_Flight]
    task: asyncio.Task[None]

    def leave(self) -> None:
        """Give it up where nobody waits for any of its answers."""
        if not any(flight.passengers for flight in self.flights):
            self.task.cancel()


class Asker:
    """Answers jobs. Used as an async context, which opens and closes its connections and cache.

    A question is asked up to `config.attempts` times within `config.deadline_s` of its first
    call. Waiting out a 429 takes from the deadline and is no attempt; neither is a call that shows
    an endpoint to be broken, or to refuse schemas.

    Args:
        config: one that names endpoints.
        share: (index, count) of this worker among those that divide the endpoints' limits.
        where: the section of the settings, for messages.
        spending: is told of what each reply costs.
        template: text of the settings' file, where it was read before.

    Raises:
        ConfigError: a key is missing, limits cannot be divided, the cache cannot be used, or the
            template not be read.
    """

    def __init__(
        self,
        config: JudgeConfig,
        share: tuple[int, int] = (0, 1),
        *,
        where: str = OWN,
        spending: Spending | None = None,
        template: JudgeTemplate | None = None,
    ) -> None:
        self._config = config
        self._endpoints = all_endpoints(config, share, where)
        self._cache = None if config.cache is None else Cache(config.cache, where=where)
        self._renderer = renderer_of(config, template or JudgeTemplate.of(config, where))
        purse = Purse(spending, config.budget.dollars, self._endpoints)
        self._purse = purse
        self._caller = Caller(config, self._endpoints, self._renderer, purse)
        self._flights: dict[bytes, _Flight] = {}
        self._tasks: set[asyncio.Task[None]] = set()

    @property
    def concurrency(self) -> int:
        """Most calls in flight at once."""
        return sum(endpoint.concurrency for endpoint in self._endpoints)

    def calls_for(self, job: Job) -> int:
        """Number of calls that a job needs at most, if none fails."""
        most = 1 if job.alone else self._config.most_per_call
        return len(calls(job.questions, most, company))

    async def __aenter__(self) -> Self:
        self._purse.open()
        self._caller.open()
        return self

    async def __aexit__(self, *_: object) -> None:
        tasks = list(self._tasks)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await self._caller.close()
        if self._cache is not None:
            await self._cache.close()
        self._purse.close()

    async def answer(self, job: Job) -> list[Answer]:
        """One answer per question, in their order. Cancelling it cancels what only it waits for."""
        found = [self._find(request) for request in self._renderer.requests(job)]
        flights = [item[0] for item in found if not isinstance(item, Answer)]
        for flight in flights:
            flight.passengers += 1
        self._take_off([flight for flight in flights if flight.call is None])
        try:
            if flights:
                await asyncio.wait({flight.landed for flight in flights})
            return [item if isinstance(item, Answer) else _landed(*item) for item in found]
        finally:
            for flight in flights:
                flight.passengers -= 1
            for flight in flights:
                if flight.call is not None:
                    flight.call.leave()

    def _find(self, request: Request) -> Answer | tuple[_Flight, bool]:
        """An answer that is known, or the flight that will bring it and whether others began it."""
        flight = self._flights.get(request.key)
        if flight is not None and not flight.is_lost:
            return flight, True
        if self._cache is not None:
            try:
                known = self._cache.get(request.key, self._answers_as)
            except CacheError as error:
                return Answer(value=None, failure=str(error))
            # Only a grade lies between 0 and 1: a verdict that does is damaged.
            if known is not None and (is_graded(request.question) or known[0] in (0, 1)):
                return Answer(value=known[0], reason=known[1], usage=Usage(cached=True))
        flight = _Flight(request, asyncio.get_running_loop().create_future())
        self._flights[request.key] = flight
        flight.landed.add_done_callback(lambda _: self._forget(request.key, flight))
        return flight, False

    def _answers_as(self, model: str) -> bool:
        """True where a verdict that a model gave is one that would be given now."""
        return not model or any(e.answering.answers_as(model) for e in self._endpoints)

    def _forget(self, key: bytes, flight: _Flight) -> None:
        if self._flights.get(key) is flight:
            del self._flights[key]

    def _take_off(self, flights: Sequence[_Flight]) -> None:
        """Ask questions that nobody asks yet, in as few calls as they may share."""
        new = list(dict.fromkeys(flights))
        most = self._config.most_per_call
        if most != 1:  # keys are digests: another order for each response
            new.sort(key=lambda flight: flight.request.key)
        for together in calls(new, most, lambda flight: flight.request.company):
            task = asyncio.create_task(self._fly(together))
            call = _Call(together, task)
            for flight in together:
                flight.call = call
            self._tasks.add(task)
            task.add_done_callback(partial(self._end, together))

    async def _fly(self, flights: Sequence[_Flight]) -> None:
        landing = {flight.request.key: flight.landed for flight in flights}

        async def land(answers: Mapping[bytes, Answer]) -> None:
            kept = await asyncio.gather(*(self._keep(*each) for each in answers.items()))
            for key, answer in zip(answers, kept, strict=True):
                landing[key].set_result(answer)

        sheet = self._renderer.sheet([flight.request for flight in flights])
        await self._caller.ask(sheet, land)

    async def _keep(self, key: bytes, answer: Answer) -> Answer:
        """The answer, once it is in the cache."""
        if self._cache is None or answer.value is None:
            return answer
        try:
            await self._cache.put(key, answer.value, answer.reason, answer.model)
        except CacheError as error:
            # What cannot be kept is not used: the run shall stop, and say why, not pay twice.
            return replace(answer, value=None, reason="", failure=str(error))
        return answer

    def _end(self, flights: Sequence[_Flight], task: asyncio.Task[None]) -> None:
        """A call is over: what has not landed never will."""
        self._tasks.discard(task)
        error = None if task.cancelled() else task.exception()
        for flight in flights:
            if flight.landed.done():
                continue
            if error is None:
                flight.landed.cancel()
            else:
                flight.landed.set_exception(error)


def _landed(flight: _Flight, joined: bool) -> Answer:
    answer = flight.landed.result()
    return replace(answer, usage=Usage(cached=True)) if joined else answer
