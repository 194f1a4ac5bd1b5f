"""The calls of a turn, made, and what the policy is told of them."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from rvpo.environments.calling import Calling, Raised, name_of
from rvpo.environments.environment import Reply, ToolFailed
from rvpo.environments.tool import Tool, read_by_policy, written
from rvpo.environments.tool_calls import ToolCall, tool_calls
from rvpo.runtime.redaction import Hidden
from rvpo.types import Message


@dataclass(frozen=True)
class Caller:
    """Makes the calls of each turn, one after the other.

    An error is told to the policy, as TRL tells it, which may do better in its next turn. Where a
    call does not return, nobody knows what the policy would have done: it fails the episode.
    """

    calling: Calling
    hidden: Hidden
    """Takes out of everything told what the environment holds for the functions."""
    seconds: float
    """Time that all calls of a turn may take."""
    most_calls: int
    most_characters: int

    async def reply(self, tools: Mapping[str, Tool], message: Message) -> Reply:
        """The answer to a turn of the policy.

        Args:
            tools: by their names.

        Raises:
            ToolFailed: see `Calling`; or a tool raised it.
        """
        until = time.monotonic() + self.seconds
        calls = tool_calls(message["content"])
        results = [
            await self._told(tools, number, call, until) for number, call in enumerate(calls)
        ]
        said = {**message, "tool_calls": [call.as_message for call in calls]} if calls else None
        return Reply(
            messages=tuple(
                {"role": "tool", "name": written(call.name), "content": text}
                for call, (text, _) in zip(calls, results, strict=True)
            ),
            said=said,
            calls=len(calls),
            failures=tuple(reason for _, reason in results if reason),
        )

    async def made(
        self,
        function: Callable[..., Any],
        arguments: Mapping[str, Any],
        then: Callable[[Any], Any] = lambda result: result,
    ) -> Any:
        """What a function of the world returns that no policy called.

        Args:
            then: see `Calling`.

        Raises:
            ToolFailed: see `Calling`.
            RuntimeError: it raised.
        """
        try:
            return await self._called(function, arguments, time.monotonic() + self.seconds, then)
        except Raised as error:
            said = self.hidden.out_of(str(error))
            raise RuntimeError(f"{name_of(function)} failed: {said}") from error

    async def _told(
        self, tools: Mapping[str, Tool], number: int, call: ToolCall, until: float
    ) -> tuple[str, str]:
        """What the policy is told, and the reason of a failure; empty where there is none."""
        if number >= self.most_calls:
            return _error(f"a turn has at most {self.most_calls} calls"), "too many calls"
        if call.problem:
            return _error(call.problem), "cannot be read"
        tool = tools.get(call.name)
        if tool is None:
            there_are = ", ".join(tools)
            return _error(f"there is no tool {call.name[:60]!r}; there are {there_are}"), "unknown"
        if problem := tool.problem_with(call.arguments):
            return _error(problem), f"{tool.name}: wrong arguments"
        try:
            result = await self._called(tool.function, call.arguments, until, read_by_policy)
        except Raised as error:
            said = self._shortened(written(error.said or error.kind))
            return _error(said), f"{tool.name}: {error.kind}"
        return self._shortened(result), ""

    async def _called(
        self,
        function: Callable[..., Any],
        arguments: Mapping[str, Any],
        until: float,
        then: Callable[[Any], Any],
    ) -> Any:
        left = max(0.0, until - time.monotonic())
        try:
            return await self.calling(function, arguments, left, then)
        except ToolFailed as error:
            raise ToolFailed(self.hidden.out_of(str(error))) from error

    def _shortened(self, text: str) -> str:
        most = self.most_characters
        shown = self.hidden.out_of(text[:most])
        return f"{shown}\n[cut off: there are {len(text):,}]" if len(text) > most else shown


def _error(said: str) -> str:
    return str({"error": said})
