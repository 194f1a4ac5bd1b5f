"""Tools: Python functions that the policy calls, as TRL's `tools`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal

from pydantic import Field

from rvpo.environments.caller import ToolCaller
from rvpo.environments.calls_config import FUNCTIONS, AnyFunction, CallsConfig
from rvpo.environments.environment import WorldReply
from rvpo.environments.tool import Tool, by_name
from rvpo.types import Message, Prompt


class ToolsConfig(CallsConfig):
    """Python functions that the policy may call; an episode is over with the first turn that calls
    none."""

    name: Literal["tools"] = "tools"
    functions: tuple[AnyFunction, ...] = Field(min_length=1)
    """Functions that the policy may call, each as `module:function`, or with `arguments`."""

    def open(self) -> FunctionTools:
        """The functions, ready to be called."""
        return FunctionTools(by_name(self.imported(), FUNCTIONS), self.caller())


class FunctionTools:
    """See `rvpo.environments.environment.Environment`.

    Args:
        tools: all of them, by their names.
    """

    def __init__(self, tools: Mapping[str, Tool], caller: ToolCaller) -> None:
        self._by_name = tools
        self._caller = caller
        self.tools = tuple(tool.schema for tool in tools.values())

    def session(self, prompt: Prompt, seed: int) -> ToolSession:
        """See `Environment.session`."""
        return ToolSession(self._by_name, self._caller)

    async def close(self) -> None:
        """See `Environment.close`."""
        await self._caller.calling.close()


class ToolSession:
    """Answers each turn with the results of its calls; nothing of it is kept."""

    state: Any = None

    def __init__(self, tools: Mapping[str, Tool], caller: ToolCaller) -> None:
        self._tools = tools
        self._caller = caller

    async def begin(self) -> Sequence[Message] | str:
        """See `Session.begin`."""
        return ()

    async def answer(self, message: Message) -> WorldReply:
        """See `Session.answer`."""
        return await self._caller.reply(self._tools, message)

    async def close(self) -> None:
        """See `Session.close`."""
