"""The episodes of a rollout, each with its world, beside the engine that samples their turns."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from threading import Condition

from rvpo.environments import ToolFailed
from rvpo.episode import Ending
from rvpo.rollout.episodes.bridge import Bridge
from rvpo.rollout.episodes.live_episode import LiveEpisode
from rvpo.rollout.further import Request
from rvpo.runtime.event_loop import EventLoop
from rvpo.types import Message, Sample


@dataclass(frozen=True, slots=True)
class Limits:
    """Limits of an episode."""

    turns: int
    tokens: int
    """Tokens behind the prompt, those of the world included."""
    context: int
    """Tokens of the whole conversation."""
    turn_seconds: float
    episode_seconds: float | None


class Conversations:
    """Further requests of a rollout (see `Further`): the turns behind those that are finished.

    Args:
        lives: the episodes, by row.
        loop: the one in which their worlds live.
        finished: hears of each row's whole sample, in the thread of who asks for requests.
    """

    def __init__(
        self,
        lives: Sequence[LiveEpisode],
        loop: EventLoop,
        bridge: Bridge,
        limits: Limits,
        finished: Callable[[int, Sample], None],
    ) -> None:
        self._lives = lives
        self._loop = loop
        self._bridge = bridge
        self._limits = limits
        self._finished = finished
        self._changed = Condition()
        self._waiting = 0
        """Rows whose world is at work."""
        self._requests: list[Request] = []
        self._over: list[tuple[int, Sample]] = []
        self._failure: BaseException | None = None

    def hear(self, row: int, sample: Sample) -> None:
        """Take a turn of the policy, and have its world answer; returns at once."""
        with self._changed:
            self._waiting += 1
        self._loop.start(self._go_on(row, sample))

    def take(self) -> Sequence[Request]:
        """See `Further.take`."""
        with self._changed:
            found, self._requests = self._requests, []
            over, self._over = self._over, []
            failure = self._failure
        for row, sample in over:
            self._finished(row, sample)
        if failure is not None:
            raise failure
        return sorted(found, key=lambda request: request.row)

    def wait(self) -> bool:
        """See `Further.wait`."""
        with self._changed:
            self._changed.wait_for(lambda: self._requests or not self._waiting or self._failure)
            return bool(self._requests)

    def settle(self) -> None:
        """See `Further.settle`."""
        with self._changed:
            self._changed.wait_for(lambda: not self._waiting or self._failure)

    async def _go_on(self, row: int, sample: Sample) -> None:
        live = self._lives[row]
        try:
            found = await self._next(row, live, sample)
            if isinstance(found, Sample):
                await live.session.close()
        except BaseException as error:
            with self._changed:
                self._failure = error
                self._changed.notify_all()
            raise
        with self._changed:
            self._waiting -= 1
            if isinstance(found, Request):
                self._requests.append(found)
            else:
                self._over.append((row, found))
            self._changed.notify_all()

    async def _next(self, row: int, live: LiveEpisode, sample: Sample) -> Request | Sample:
        """The request for the next turn, or the whole sample where there is none."""
        said = live.hear(sample)
        if sample.finish_reason == "length":
            return live.sample("out_of_tokens")
        try:
            reply = await asyncio.wait_for(live.session.answer(said), self._limits.turn_seconds)
        except ToolFailed as error:
            return live.sample("tool_failed", str(error))
        except TimeoutError:
            seconds = f"{self._limits.turn_seconds:g}"
            return live.sample("world_broken", f"it did not answer in {seconds} s")
        except Exception as error:  # code of others raises anything
            return live.sample("world_broken", f"{type(error).__name__}: {error}")
        live.read(reply)
        if not reply.messages or reply.is_over:
            return live.sample("answered")
        if (used_up := self._used_up(live)) is not None:
            return live.sample(used_up)
        self._tell(live, reply.messages)
        room = min(self._limits.tokens - len(live.ids), self._limits.context - len(live.token_ids))
        if room < 1:
            return live.sample("out_of_tokens")
        prompt = replace(live.prompt, token_ids=live.token_ids)
        return Request(row, len(live.samples), prompt, room)

    def _used_up(self, live: LiveEpisode) -> Ending | None:
        if len(live.samples) >= self._limits.turns:
            return "out_of_turns"
        most = self._limits.episode_seconds
        if most is not None and time.monotonic() - live.begun > most:
            return "out_of_time"
        return None

    def _tell(self, live: LiveEpisode, messages: Sequence[Message]) -> None:
        said = live.messages
        ids = self._bridge.tokens(live.prompt, said, messages)
        live.rewritten = live.rewritten or self._bridge.rewriting(
            live.prompt, [*said, *messages], live.token_ids
        )
        ended = self._bridge.encoder.stop_ids
        if live.ids and live.ids[-1] in ended and ids[:1] == (live.ids[-1],):
            ids = ids[1:]  # the turn's end was sampled
        live.tell(messages, ids)
