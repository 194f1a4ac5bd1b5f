"""The prompt of a row with a rubric: text, or the turns of a conversation."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from rvpo.files.literal import read_value
from rvpo.types import is_message

Asked = str | list[Any] | dict[str, Any]
"""A question as text, or a conversation: chat messages, or turns in the form of the data."""

_HOLDERS: Final = ("messages", "conversations", "conversation", "input")
_KEYS: Final = frozenset({"role", "from", "type"})


def conversation(value: Any) -> Asked | None:
    """The prompt that a cell holds, or None where it holds none.

    Args:
        value: text; chat messages, also as text that is JSON or a Python literal, or in a table
            under `messages` or `input`. Parts of a content that are text are joined; turns in other
            forms stay as they are.
    """
    text = value if isinstance(value, str) and value.strip() else None
    value = read_value(value)
    table = value if isinstance(value, Mapping) else {}
    if table:
        value = next((read_value(table[name]) for name in _HOLDERS if table.get(name)), None)
    if not isinstance(value, list | tuple) or not value:
        return text
    turns = [_turn(turn) for turn in value]
    said_before = isinstance(table.get("instructions", table.get("system")), str)
    if all(map(is_message, turns)) and not said_before:
        return turns
    # Other forms are read where all prompts are, or refused there by name.
    is_told = all(isinstance(turn, Mapping) and _KEYS & turn.keys() for turn in value)
    return (dict(table) or list(value)) if is_told else text


def _turn(turn: Any) -> dict[str, Any]:
    if not isinstance(turn, Mapping):
        return {}
    fields = {name: v for name, v in turn.items() if v is not None and name != "type"}
    content = read_value(fields.get("content"))
    if isinstance(content, list | tuple):
        texts = [part.get("text") if isinstance(part, Mapping) else part for part in content]
        words = [text for text in texts if isinstance(text, str)]
        if len(words) == len(texts):
            fields["content"] = "".join(words)
    return fields
