"""Tools: Python functions that the policy calls, as TRL's `tools`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal

from pydantic import Field

from rvpo.environments.caller import ToolCaller
from rvpo.environments.calls_config import FUNCTIONS, AnyFunction, CallsConfig
from rvpo.environments.environment import ToolFailed, WorldReply
from rvpo.environments.isolated import START_S, IsolatedCaller, ToolProcesses
from rvpo.environments.tool import Tool, by_name
from rvpo.errors import ConfigError
from rvpo.types import Message, Prompt


class ToolsConfig(CallsConfig):
    """Python functions that the policy may call; an episode is over with the first turn that calls
    none."""

    name: Literal["tools"] = "tools"
    functions: tuple[AnyFunction, ...] = Field(min_length=1)
    """Functions that the policy may call, each as `module:function`, or with `arguments`."""

    isolated: bool = False
    """True has each call made in a process of its own, a copy of one that has imported the
    functions. What ends Python, fills memory or does not return costs its episode alone; what a
    function keeps is gone with its call."""

    @property
    def start_seconds(self) -> float:
        """See `EnvironmentConfig.start_seconds`."""
        return START_S * self.calls_per_turn if self.isolated else 0.0

    def open(self) -> FunctionTools:
        """The functions, ready to be called.

        Raises:
            ConfigError: see `CallsConfig.imported`; or their process does not start.
        """
        tools = by_name(self.imported(), FUNCTIONS)
        caller = self.caller()
        if self.isolated:
            try:
                processes = ToolProcesses(self, list(tools))
            except ToolFailed as error:
                raise ConfigError(f"environment.isolated: {error}") from error
            caller = IsolatedCaller(**vars(caller), processes=processes)
        return FunctionTools(tools, caller)


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
        await self._caller.close()


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
