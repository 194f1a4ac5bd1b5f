"""Calls of tools as models write them: what every reader of them knows."""

from __future__ import annotations

import json
import re
from typing import Any, Final

PYTHON_TAG: Final = "<|python_tag|>"
"""Begins a turn of Llama 3 that calls."""
CALL_MARKS: Final = ("[TOOL_CALLS]", "[CALL_ID]", "[ARGS]", "<|tool_call|>", PYTHON_TAG)
"""Special tokens that models write into calls (Mistral, Granite and Phi, Llama 3)."""
FENCE: Final = re.compile(r"```\w*+\s*+(.*?)```", re.DOTALL)
"""Around code, and what is inside."""
_CALL_KEYS: Final = re.compile(r'"(?:arguments|parameters)"\s*:')
_NAME_KEY: Final = re.compile(r'"name"\s*:')


def holds_call(text: str) -> bool:
    """True where the keys of a call stand in a text, readable or not."""
    return bool(_NAME_KEY.search(text) and _CALL_KEYS.search(text))


def parsed(text: str) -> Any:
    """The value of a JSON text; None where it is none."""
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return None


def named(value: Any) -> str | None:
    """The function that a JSON value calls; None where it is no call."""
    name = value.get("name") if isinstance(value, dict) else None
    return name if isinstance(name, str) else None


def arguments_of(call: dict[str, Any]) -> Any:
    """The arguments of a call, also those that are JSON inside the JSON; none at all are empty."""
    arguments = call.get("arguments", call.get("parameters", {}))
    return parsed(arguments) if isinstance(arguments, str) else arguments
