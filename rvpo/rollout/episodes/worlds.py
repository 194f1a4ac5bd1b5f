"""The worlds of a rollout's episodes, whose code is that of others."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from functools import partial
from typing import Any, Final

from rvpo.environments import Environment, EnvironmentConfig, ToolFailed, WorldReply
from rvpo.episode import BROKEN
from rvpo.rollout.episodes.deadline import WorldBroken, in_words, within
from rvpo.rollout.episodes.live_episode import EpisodeEnd, LiveEpisode
from rvpo.types import Message, is_message

_GRACE_S: Final = 1.0
"""Seconds that a turn may take longer than what a world times itself, which says more of it."""


class Worlds:
    """Opens, asks and closes worlds, each with a deadline and so many at a time.

    Args:
        say: hears of worlds that failed to close, which spoils no score.
    """

    def __init__(
        self,
        environment: Environment,
        config: EnvironmentConfig,
        say: Callable[[str], None],
    ) -> None:
        self._environment = environment
        self._within = partial(within, config.seconds, grace=config.start_seconds + _GRACE_S)
        self._room = asyncio.Semaphore(config.at_once)
        self._say = say

    async def begin(self, live: LiveEpisode, seed: int) -> Sequence[Message] | str:
        """Open the world of an episode; what it says first, as `Session.begin`. One that fails has
        the end of the episode behind the policy's first turn."""

        async def begun() -> tuple[Message, ...] | str:
            live.session = self._environment.session(live.prompt, seed)
            told = await live.session.begin()
            return told if isinstance(told, str) else tuple(told)

        try:
            async with self._timed(live):
                told = await self._within(begun, "begin")
            _check([{"role": "user", "content": told}] if isinstance(told, str) else told)
        except (ToolFailed, WorldBroken) as error:
            live.end = _end(error)
            return ()
        return told

    async def answer(self, live: LiveEpisode, message: Message) -> WorldReply | EpisodeEnd:
        """The reply of a world to a turn, or the end of the episode where it failed."""
        session = live.session
        assert session is not None
        try:
            async with self._timed(live):
                reply = await self._within(lambda: session.answer(message), "answer a turn")
            return _checked(reply)
        except (ToolFailed, WorldBroken) as error:
            return _end(error)

    async def end(self, live: LiveEpisode, end: EpisodeEnd) -> tuple[EpisodeEnd, Any]:
        """Close the world of an episode; its end, and the world's state. Where nobody can tell the
        state, the world is broken."""
        session, state = live.session, None
        if session is not None:

            async def read() -> Any:
                return session.state

            try:
                state = await self._within(read, "tell its state")
            except (ToolFailed, WorldBroken) as error:
                end = end if end.ending in BROKEN else _end(error)
        await self.close(live)
        return end, state

    async def close(self, live: LiveEpisode) -> None:
        """Have the world of an episode give up what it holds, once."""
        session = live.session
        if session is None or live.is_closed:
            return
        live.is_closed = True
        try:
            await self._within(lambda: session.close(), "close")
        except (ToolFailed, WorldBroken) as error:
            self._say(
                f"environment: the world of prompt {live.prompt.id!r} failed to close "
                f"({in_words(error)}); its score stands, but it may hold on to something"
            )

    async def close_each(self, lives: Sequence[LiveEpisode]) -> None:
        """Close every world that is still open."""
        await asyncio.gather(*(self.close(live) for live in lives))

    @asynccontextmanager
    async def _timed(self, live: LiveEpisode) -> AsyncIterator[None]:
        """A place among those at work: time begins behind the wait for it."""
        async with self._room:
            begun = time.monotonic()
            try:
                yield
            finally:
                live.seconds += time.monotonic() - begun


def _end(error: ToolFailed | WorldBroken) -> EpisodeEnd:
    if isinstance(error, ToolFailed):
        return EpisodeEnd("tool_failed", in_words(error))
    return EpisodeEnd("world_broken", str(error))


def _checked(reply: Any) -> WorldReply:
    """A reply that is what it should be; others are written by others.

    Raises:
        WorldBroken: it is not.
    """
    if not isinstance(reply, WorldReply):
        raise WorldBroken(f"it answered with {type(reply).__name__}, which is no WorldReply")
    _check(reply.messages)
    if reply.said is not None and not isinstance(reply.said, dict):
        raise WorldBroken("it read the policy's turn as something that is no message")
    return reply


def _check(messages: Sequence[Any]) -> None:
    for message in messages:
        if not is_message(message):
            raise WorldBroken("it said what is no message: a table with a role and a content")
        if message["role"] == "assistant":
            raise WorldBroken("it spoke as the assistant, which the policy is")
        try:
            message["content"].encode()
        except UnicodeEncodeError:
            raise WorldBroken("it said what is no text (half of a surrogate pair)") from None
