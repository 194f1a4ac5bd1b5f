"""The prompt of a row with a rubric: text, or the turns of a conversation."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from rvpo.files.literal import read_value
from rvpo.types import is_message

Asked = str | list[dict[str, Any]]
"""A question as text, or a conversation as chat messages."""


def conversation(value: Any) -> Asked | None:
    """The prompt that a cell holds, or None where it holds none.

    Args:
        value: text; chat messages, also as text that is JSON or a Python literal, or in a table
            under `messages`. Parts of a content that are text are joined.
    """
    text = value if isinstance(value, str) and value.strip() else None
    value = read_value(value)
    if isinstance(value, Mapping):
        value = read_value(value.get("messages"))
    if not isinstance(value, list | tuple) or not value:
        return text
    turns = [_turn(turn) for turn in value]
    return turns if all(map(is_message, turns)) else text


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
