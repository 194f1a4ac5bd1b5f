"""Calls of tools in what a model wrote."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

_BLOCK: Final = re.compile(r"<tool_call>(.*?)(?:</tool_call>|\Z)", re.DOTALL)


@dataclass(frozen=True, slots=True)
class ToolCall:
    """One call, as far as it can be read."""

    name: str
    arguments: Mapping[str, Any]
    problem: str = ""
    """Reason that it cannot be made, in words for the model; empty where it can."""

    @property
    def as_message(self) -> dict[str, Any]:
        """The call as OpenAI's API has one."""
        called = {"name": self.name, "arguments": dict(self.arguments)}
        return {"type": "function", "function": called}


def tool_calls(text: str) -> list[ToolCall]:
    """The calls of an answer, in order: JSON in blocks of <tool_call>, a table or a list of them,
    each with `name` and `arguments` (or `parameters`)."""
    return [call for block in _BLOCK.findall(text) for call in _read(block)]


def _read(block: str) -> list[ToolCall]:
    try:
        found = json.loads(block)
    except (ValueError, RecursionError) as error:
        return [ToolCall("", {}, f"the call is no JSON ({error})")]
    return [_call(each) for each in (found if isinstance(found, list) else [found])]


def _call(value: Any) -> ToolCall:
    if not isinstance(value, dict) or not isinstance(value.get("name"), str):
        return ToolCall("", {}, "a call is a table with a name and arguments")
    arguments = value.get("arguments", value.get("parameters", {}))
    if not isinstance(arguments, dict):
        return ToolCall(value["name"], {}, "arguments must be a table")
    return ToolCall(value["name"], arguments)
