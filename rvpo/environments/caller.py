"""The calls of a turn, made, and what the policy is told of them."""

from __future__ import annotations

import itertools
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from rvpo.environments.answering import CallResult, answered, failed, refusal, shortened
from rvpo.environments.calling import Calling, Raised, name_of
from rvpo.environments.environment import ToolFailed, WorldReply
from rvpo.environments.tool import Tool, read_by_policy, written
from rvpo.environments.tool_calls import ToolCall
from rvpo.runtime.deepcopy import own
from rvpo.runtime.redaction import Hidden
from rvpo.types import Message


class TimeLeft:
    """Time that the calls of a turn have together.

    Args:
        seconds: all of it.
    """

    def __init__(self, seconds: float) -> None:
        self._until = time.monotonic() + seconds
        self._stopped = 0.0

    @property
    def seconds(self) -> float:
        """The part of it that is left."""
        return max(0.0, self._until - time.monotonic())

    def stop(self) -> None:
        """Count no time until `go`."""
        self._stopped = time.monotonic()

    def go(self) -> None:
        self._until += time.monotonic() - self._stopped


@dataclass(frozen=True)
class ToolCaller:
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

    async def reply(self, tools: Mapping[str, Tool], message: Message) -> WorldReply:
        """The answer to a turn of the policy.

        Args:
            tools: all of them, by their names.

        Raises:
            ToolFailed: see `Calling`; or a tool raised it.
        """
        left = TimeLeft(self.seconds)
        numbers = itertools.count(1)

        async def result(call: ToolCall) -> CallResult:
            return await self._result(tools, next(numbers), call, left)

        return await answered(message, [tool.schema for tool in tools.values()], result)

    async def made(
        self,
        function: Callable[..., Any],
        arguments: Mapping[str, Any],
        then: Callable[[Any], Any] = lambda result: result,
    ) -> Any:
        """The result of a function of the world that no policy called.

        Args:
            then: see `Calling`.

        Raises:
            ToolFailed: see `Calling`.
            RuntimeError: it raised.
        """
        try:
            return await self._called(function, arguments, TimeLeft(self.seconds), then)
        except Raised as error:
            said = self.hidden.out_of(str(error))
            raise RuntimeError(f"{name_of(function)} failed: {said}") from error

    async def close(self) -> None:
        """End what calls left behind. Calling it twice does no harm."""
        await self.calling.close()

    def told(self, result: str) -> CallResult:
        """The words for the policy of a result, as `read_by_policy` makes it."""
        return CallResult(self._shortened(result))

    def told_of_error(self, tool: str, error: Raised) -> CallResult:
        """The words for the policy of an error.

        Args:
            tool: name of the tool that raised it.
        """
        said = self._shortened(written(error.said or error.kind))
        return failed(said, f"{tool}: {error.kind}")

    async def _result(
        self, tools: Mapping[str, Tool], number: int, call: ToolCall, left: TimeLeft
    ) -> CallResult:
        if number > self.most_calls:
            return failed(f"a turn has at most {self.most_calls} calls", "too many calls")
        if (refused := refusal(call, tools)) is not None:
            return refused
        tool = tools[call.name]
        if problem := tool.problem_with(call.arguments):
            return failed(problem, f"{tool.name}: wrong arguments")
        # Its own: what a function does to them is no part of what the policy said.
        return await self._made(tool, own(call.arguments), left)

    async def _made(self, tool: Tool, arguments: Mapping[str, Any], left: TimeLeft) -> CallResult:
        """The result of a call that can be made."""
        try:
            found = await self._called(tool.function, arguments, left, read_by_policy)
        except Raised as error:
            return self.told_of_error(tool.name, error)
        return self.told(found)

    async def _called(
        self,
        function: Callable[..., Any],
        arguments: Mapping[str, Any],
        left: TimeLeft,
        then: Callable[[Any], Any],
    ) -> Any:
        try:
            return await self.calling(function, arguments, left.seconds, then)
        except ToolFailed as error:
            raise ToolFailed(self.hidden.out_of(str(error))) from error

    def _shortened(self, text: str) -> str:
        return shortened(text, self.most_characters, self.hidden.out_of)
