"""One episode of an environment of verifiers, which waits for the policy's turns."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from rvpo.environments.environment import ToolFailed, WorldReply
from rvpo.environments.tool_calls import tool_calls
from rvpo.environments.verifiers_agent import Exchange
from rvpo.types import Failed, Message, RewardScore


@dataclass
class EpisodeOutcome:
    """The outcome of an episode, once its session is closed."""

    scores: dict[str, RewardScore] = field(default_factory=dict)
    """Scores by the names of rewards and metrics, without weights."""
    weights: dict[str, float] = field(default_factory=dict)
    """Weights of the environment's own sum; 0 of a metric."""
    problem: str = ""
    """Reason that there are no scores; empty where there are."""
    trace: Any = None
    """The `verifiers.v1.Trace`; None where none was begun."""

    def score(self, name: str) -> RewardScore:
        """One score; None where the environment gave none in this episode."""
        return Failed(self.problem) if self.problem else self.scores.get(name)


class PlayedEpisode:
    """An episode that verifiers plays, in the loop of its environment.

    Args:
        play: runs it to its end, with the exchange that its turns go through.
        prompt: messages that the policy is shown first.
        seconds: time that the world may take for a turn.
        call_seconds: time that one call of a tool may take.
    """

    def __init__(
        self,
        play: Callable[[Exchange], Awaitable[None]],
        prompt: Sequence[Message],
        seconds: float,
        call_seconds: float,
    ) -> None:
        self._to_play = play
        self._messages = list(prompt)
        self._tools: Sequence[Mapping[str, Any]] = ()
        """Tools that the last request showed."""
        self._seconds = seconds
        self._exchange = Exchange(call_seconds)
        self._play: asyncio.Future[None] | None = None
        self.outcome = EpisodeOutcome()

    async def peek(self) -> dict[str, Any]:
        """The first request for a turn; the episode ends with it."""
        try:
            return await self._begun()
        finally:
            await self._give_up()

    async def begin(self) -> Sequence[Message]:
        """See `Session.begin`."""
        return self._further(await self._begun())

    async def answer(self, message: Message) -> WorldReply:
        """See `Session.answer`."""
        self._messages.append(message)
        self._exchange.say(message["content"])
        asked = await self._asked()
        failures, self._exchange.failures = tuple(self._exchange.failures), []
        if asked is None:
            self._read()
            return WorldReply(failures=failures)
        made = asked["messages"][len(self._messages) - 1].get("tool_calls") or ()
        read = tool_calls(message["content"], self._tools)
        calls = [call.as_message for call in read if not call.problem]
        return WorldReply(
            messages=tuple(self._further(asked)),
            said={**message, "tool_calls": calls} if made else None,
            calls=len(made),
            failures=failures,
        )

    async def close(self) -> None:
        """End it. One that waits for the policy is scored as it is."""
        if self._play is not None and not self._play.done() and self._exchange.is_waiting:
            self._exchange.stop()
            await asyncio.wait([self._play], timeout=self._seconds)
            try:
                self._read()
            except Exception as error:  # code of others raises anything
                self.outcome.problem = f"{type(error).__name__}: {error}"
        await self._give_up()

    async def _begun(self) -> dict[str, Any]:
        self._play = asyncio.ensure_future(self._to_play(self._exchange))
        asked = await self._asked()
        if asked is None:
            self._read()
            raise RuntimeError("it was over before the policy's first turn")
        return asked

    async def _asked(self) -> dict[str, Any] | None:
        """The next request; None where the episode is over."""
        assert self._play is not None
        request = asyncio.ensure_future(self._exchange.asked.get())
        try:
            either: list[asyncio.Future[Any]] = [request, self._play]
            await asyncio.wait(either, return_when=asyncio.FIRST_COMPLETED)
            return request.result() if request.done() else None
        finally:
            request.cancel()

    def _read(self) -> None:
        """Take what the episode came to, or raise why it came to nothing."""
        assert self._play is not None
        if self._exchange.late:
            raise ToolFailed(self._exchange.late)
        if not self._play.done():
            raise TimeoutError(f"it was not scored in {self._seconds:g} s")
        self._play.result()
        for trace in self._exchange.traces:
            if not trace.ok and trace.errors:
                raise RuntimeError(f"{trace.errors[-1].type}: {trace.errors[-1].message}")
        trace, outcome = self._exchange.traces[-1], self.outcome
        given = {name: value for name, value in trace.rewards.items() if value is not None}
        outcome.trace = trace
        outcome.scores = {name: value.score for name, value in given.items()}
        outcome.weights = {name: value.weight for name, value in given.items()}
        outcome.scores |= self._exchange.scores
        outcome.weights |= self._exchange.weights

    def _further(self, asked: dict[str, Any]) -> list[Message]:
        """The messages behind those that were there.

        Raises:
            RuntimeError: those were changed.
        """
        found = messages_of(asked)
        count = len(self._messages)
        for was, now in zip(self._messages, found, strict=False):
            if was["role"] != now["role"] or _differs(was, now):
                raise RuntimeError(
                    f"it rewrote a message of the {was['role']}; an episode is one conversation "
                    "that only grows"
                )
        if len(found) < count:
            raise RuntimeError("it began another conversation; an episode is one")
        self._messages, self._tools = found, asked.get("tools") or ()
        return found[count:]

    async def _give_up(self) -> None:
        if self._play is None:
            return
        self._play.cancel()
        await asyncio.wait([self._play], timeout=self._seconds)
        if self._play.done() and not self._play.cancelled():
            self._play.exception()  # read, where nobody waits for it


def messages_of(asked: Mapping[str, Any]) -> list[Message]:
    """The messages of a request, with texts alone.

    Raises:
        RuntimeError: one has something else, such as an image.
    """
    return [{**each, "content": _text(each.get("content"))} for each in asked["messages"]]


def _text(content: Any) -> str:
    if content is None or isinstance(content, str):
        return content or ""
    kinds = {part["type"] for part in content} - {"text"}
    if kinds:
        raise RuntimeError(
            f"it says something with {', '.join(sorted(kinds))}; texts alone are read"
        )
    return "\n".join(part["text"] for part in content)


def _differs(was: Message, now: Message) -> bool:
    """True where a message of someone else than the policy was changed: its own are read anew, and
    without the calls in them."""
    return bool(was["role"] != "assistant" and _text(was["content"]) != now["content"])
