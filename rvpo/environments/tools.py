"""Tools: Python functions that the policy calls, as TRL's `tools`."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Literal

from pydantic import Field

from rvpo.environments.calling import Calling
from rvpo.environments.environment import Reply, ToolFailed
from rvpo.environments.environment_config import EnvironmentConfig
from rvpo.environments.tool_calls import ToolCall, tool_calls
from rvpo.fields import ImportPath
from rvpo.types import Message, Prompt


class ToolsConfig(EnvironmentConfig):
    """Python functions that the policy may call; an episode is over with the first turn that calls
    none."""

    name: Literal["tools"] = "tools"
    functions: tuple[ImportPath, ...] = Field(min_length=1)
    """Functions, each as `module:function`, sync or async. Their type hints and docstrings, with a
    section `Args:` in Google's style, are what the policy is shown of them."""

    def open(self) -> FunctionTools:
        """The functions, imported."""
        from rvpo.runtime.imports import import_function

        where = "environment.functions"
        functions = [import_function(path, where) for path in self.functions]
        return FunctionTools(functions, at_once=self.at_once, seconds=self.seconds)


class FunctionTools:
    """See `rvpo.environments.environment.Environment`.

    Args:
        functions: the tools, by their names.
        at_once: see `Calling`.
        seconds: see `Calling`.
    """

    def __init__(
        self, functions: Sequence[Callable[..., Any]], *, at_once: int, seconds: float
    ) -> None:
        from transformers.utils.chat_template_utils import get_json_schema

        self._functions = {function.__name__: function for function in functions}
        self._calling = Calling(at_once, seconds)
        self.tools: tuple[Mapping[str, Any], ...] = tuple(map(get_json_schema, functions))

    def session(self, prompt: Prompt, seed: int) -> ToolSession:
        """See `Environment.session`."""
        return ToolSession(self._functions, self._calling)

    async def close(self) -> None:
        """See `Environment.close`."""


class ToolSession:
    """Answers each turn with the results of its calls, in their order.

    An error of a call is told to the policy, which may do better; one that hangs ends the episode.
    """

    state: Any = None

    def __init__(self, functions: Mapping[str, Callable[..., Any]], calling: Calling) -> None:
        self._functions = functions
        self._calling = calling

    async def begin(self) -> Sequence[Message]:
        """See `Session.begin`."""
        return ()

    async def answer(self, message: Message) -> Reply:
        """See `Session.answer`."""
        calls = tool_calls(message["content"])
        results = [await self._result(call) for call in calls]
        said = {**message, "tool_calls": [call.as_message for call in calls]} if calls else None
        return Reply(
            messages=tuple(
                {"role": "tool", "name": call.name, "content": text}
                for call, (text, _) in zip(calls, results, strict=True)
            ),
            said=said,
            calls=len(calls),
            failures=tuple(problem for _, problem in results if problem),
        )

    async def close(self) -> None:
        """See `Session.close`."""

    async def _result(self, call: ToolCall) -> tuple[str, str]:
        """What the policy is told, and the reason of a failure; empty where there is none."""
        function = self._functions.get(call.name)
        problem = call.problem
        if not problem and function is None:
            problem = f"there is no tool {call.name!r}; choose from {', '.join(self._functions)}"
        if problem or function is None:
            return json.dumps({"error": problem}), problem.partition(";")[0]
        try:
            result = await self._calling(function, **call.arguments)
        except ToolFailed:
            raise
        except Exception as error:  # code of others raises anything
            return json.dumps({"error": str(error)}), f"{call.name}: {type(error).__name__}"
        return (result if isinstance(result, str) else json.dumps(result, default=str)), ""
