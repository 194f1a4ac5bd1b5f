"""The episodes of a rollout, each with its world, beside the engine that samples their turns."""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import Callable, Coroutine, Sequence
from concurrent.futures import CancelledError, Future, ThreadPoolExecutor, wait
from functools import partial
from threading import Condition
from typing import Any, Final, TypeVar

from rvpo.environments import WorldReply
from rvpo.errors import EngineError
from rvpo.rollout.episodes.limits import EpisodeLimits
from rvpo.rollout.episodes.live_episode import EpisodeEnd, LiveEpisode
from rvpo.rollout.episodes.scribe import Scribe
from rvpo.rollout.episodes.worlds import Worlds
from rvpo.rollout.further import TurnRequest
from rvpo.runtime.event_loop import EventLoop
from rvpo.runtime.ignore import ignore
from rvpo.runtime.seed import derived_seed
from rvpo.types import Sample

T = TypeVar("T")

_PULSE_S: Final = 1.0
"""Seconds between two looks whether the event loop still runs."""


class Conversations:
    """Further requests of a rollout (see `Further`): the turns behind those that are finished, and
    the first ones.

    Args:
        lives: the episodes, by row.
        loop: the one in which their worlds live.
        finished: hears of each row's whole sample, in the thread of who asks for requests.
    """

    def __init__(
        self,
        lives: Sequence[LiveEpisode],
        loop: EventLoop,
        worlds: Worlds,
        scribe: Scribe,
        limits: EpisodeLimits,
        finished: Callable[[int, Sample], None],
    ) -> None:
        self._lives = lives
        self._loop = loop
        self._worlds = worlds
        self._scribe = scribe
        self._limits = limits
        self._finished = finished
        self._changed = Condition()
        self._under_way: dict[int, Future[TurnRequest | Sample]] = {}
        """The work under way of worlds, by row."""
        self._requests: list[TurnRequest] = []
        self._over: list[tuple[int, Sample]] = []
        self._failure: BaseException | None = None
        self._told: Callable[[], None] = ignore
        self._is_stuck = False
        self.waited = 0.0
        """Seconds in which the engine had nothing to do but to wait for worlds."""
        self._writing = ThreadPoolExecutor(1, "episodes")

    def begin(self, seed: int, seconds: float) -> bool:
        """Open every world. The first turns are requests too, each from when its world has begun.
        Raises as `take` does.

        Args:
            seconds: time to wait for all of them.

        Returns:
            True where all have begun in that time.
        """
        for row in range(len(self._lives)):
            self._start(row, self._begin(row, derived_seed(seed, row, "world")))
        return self._until(lambda: not self._under_way, seconds)

    def hear(self, row: int, sample: Sample) -> None:
        """Take a turn of the policy, and have its world answer; returns at once."""
        self._start(row, self._go_on(row, sample))

    def take(self) -> Sequence[TurnRequest]:
        """See `Further.take`.

        Raises:
            EngineError: the event loop ended, or stands still.
        """
        with self._changed:
            found, self._requests = self._requests, []
            over, self._over = self._over, []
        for row, sample in sorted(over, key=lambda each: each[0]):
            self._finished(row, sample)
        self._check()
        return sorted(found, key=lambda request: request.row)

    def wait(self) -> bool:
        """See `Further.wait`. Raises as `take` does."""
        self._until(lambda: self._has_news or not self._under_way)
        return self._has_news

    def settle(self) -> None:
        """See `Further.settle`. Raises as `take` does."""
        self._until(lambda: not self._under_way)

    def listen(self, told: Callable[[], None]) -> None:
        """See `Further.listen`."""
        self._told = told

    @property
    def _has_news(self) -> bool:
        return bool(self._requests or self._over)

    def close(self) -> None:
        """End what is under way, and the worlds of episodes that did not come to an end; of code
        that holds up the event loop, nothing."""
        for future in list(self._under_way.values()):
            future.cancel()
        self._writing.shutdown(wait=False, cancel_futures=True)
        open = [live for live in self._lives if not live.is_closed]
        if open and not self._is_stuck:
            closing = self._loop.start(self._worlds.close_each(open))
            wait([closing], self._limits.patience)
            closing.cancel()

    def _check(self) -> None:
        if isinstance(self._failure, CancelledError | asyncio.CancelledError):
            raise EngineError(
                "the event loop of the environment ended while episodes were under way: something "
                "in it left Python (sys.exit), or the run was closed"
            ) from self._failure
        if self._failure is not None:
            raise self._failure

    def _until(self, ready: Callable[[], bool], seconds: float = math.inf) -> bool:
        """Wait for it, as long as the event loop lives, and at most so long; true where it is."""
        begun = time.monotonic()
        try:
            return self._waited(ready, begun + seconds)
        finally:
            self.waited += time.monotonic() - begun

    def _waited(self, ready: Callable[[], bool], end: float) -> bool:
        pulse: Future[None] | None = None
        felt = time.monotonic()
        while True:
            with self._changed:
                done = self._changed.wait_for(
                    lambda: ready() or self._failure is not None,
                    min(_PULSE_S, max(0.0, end - time.monotonic())),
                )
            self._check()
            if done or time.monotonic() >= end:
                return done
            if pulse is None or pulse.done():
                pulse, felt = self._loop.start(asyncio.sleep(0)), time.monotonic()
            elif time.monotonic() - felt > self._limits.patience:
                self._is_stuck = True
                raise EngineError(
                    "environment: its code has held up the event loop, and with it every episode, "
                    f"for {self._limits.patience:g} s; an async function must not block, as "
                    "time.sleep does: make it an ordinary function, or await"
                )

    def _start(self, row: int, work: Coroutine[Any, Any, TurnRequest | Sample]) -> None:
        with self._changed:
            future = self._loop.start(work)
            self._under_way[row] = future
        future.add_done_callback(partial(self._known, row))

    def _known(self, row: int, future: Future[TurnRequest | Sample]) -> None:
        """Take what became of a row; called wherever its work ends, and however."""
        with self._changed:
            del self._under_way[row]
            if future.cancelled():
                self._failure = self._failure or CancelledError()
            elif (error := future.exception()) is not None:
                self._failure = self._failure or error
            elif isinstance(found := future.result(), TurnRequest):
                self._requests.append(found)
            else:
                self._over.append((row, found))
            self._changed.notify_all()
        self._told()

    async def _begin(self, row: int, seed: int) -> TurnRequest:
        """The request for the first turn."""
        live = self._lives[row]
        told = await self._worlds.begin(live, seed)
        if told:
            live.end = await self._beside(self._scribe.begin, live, told)
        return TurnRequest(row, 0, live.prompt, self._limits.tokens)

    async def _beside(self, work: Callable[..., T], *arguments: Any) -> T:
        """Do it in the thread that writes: templates and tokenizers would hold up the loop and its
        clocks."""
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._writing, work, *arguments)

    async def _go_on(self, row: int, sample: Sample) -> TurnRequest | Sample:
        """The request for the next turn, or the whole sample where there is none."""
        live = self._lives[row]
        said = await self._beside(self._scribe.said, sample)
        live.hear(sample, said)
        end = live.end or self._scribe.cut(live, sample)
        if end is None:
            answer = await self._worlds.answer(live, said.heard)
            if isinstance(answer, EpisodeEnd):
                end = answer
            else:
                live.read(answer)
                end = self._end(live, answer)
        if end is None:
            found = await self._beside(self._scribe.tell, row, live, answer)
            if isinstance(found, TurnRequest):
                return found
            end = found
        end, state = await self._worlds.end(live, end)
        return await self._beside(live.sample, end, state)

    def _end(self, live: LiveEpisode, reply: WorldReply) -> EpisodeEnd | None:
        """The end of an episode behind a turn of its world; None where it goes on."""
        if not reply.messages or reply.is_over:
            return EpisodeEnd("answered")
        if len(live.samples) >= self._limits.turns:
            return EpisodeEnd("out_of_turns")
        most = self._limits.seconds
        if most is not None and time.monotonic() - live.begun > most:
            return EpisodeEnd("out_of_time")
        return None
