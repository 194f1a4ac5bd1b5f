"""Chat messages and tools as data write them, to those that a chat template takes."""

from __future__ import annotations

import ast
import json
from collections.abc import Mapping, Sequence
from typing import Any

from rvpo.errors import DataError
from rvpo.types import Message

_FORM = "a chat message is a dict with a text 'role' and a text 'content'"


def read_messages(value: Any, where: str) -> tuple[Message, ...]:
    """The messages of a prompt: text is one user message, unless it is messages as JSON.

    All fields of a message that hold something are kept, for the chat template to show. Parts of a
    content are joined; a content may be null where tools are called.

    Raises:
        DataError: it is no prompt, or has a part that would be lost, such as an image.
    """
    if isinstance(value, str):
        written = _written(value)
        if written is None:
            return ({"role": "user", "content": value},)
        value = written
    if isinstance(value, str | bytes) or not isinstance(value, Sequence) or not value:
        raise DataError(f"{where}: is {shown(value)}; give text or a list of chat messages")
    return tuple(_message(message, where) for message in value)


def check_turn(messages: Sequence[Message], where: str) -> None:
    """Raise DataError if the conversation does not wait for the assistant."""
    if messages[-1]["role"] == "assistant":
        raise DataError(
            f"{where}: ends with a turn of the assistant, and the completion would be a second "
            "one; end it with the turn to be answered, and keep an answer in a column of its own"
        )


def with_system(messages: tuple[Message, ...], system_prompt: str | None) -> tuple[Message, ...]:
    """A conversation after a system message; as it is where it has one, or there is none to add."""
    if system_prompt is None or any(message["role"] == "system" for message in messages):
        return messages
    return ({"role": "system", "content": system_prompt}, *messages)


def read_tools(value: Any, where: str) -> tuple[Mapping[str, Any], ...]:
    """The tools of a row, a list or JSON text, each as OpenAI's API describes one; a bare function
    is wrapped so.

    Raises:
        DataError: they cannot be read.
    """
    if isinstance(value, str) and value.strip():
        value = _json(value)
        if value is None:
            raise DataError(f"{where}: is text that is not JSON; give a list of tools")
    if not value:
        return ()
    tools = [value] if isinstance(value, Mapping) else value
    if not isinstance(tools, Sequence) or isinstance(tools, str):
        raise DataError(f"{where}: is {shown(value)}; give a list of tools")
    return tuple(_tool(tool, where) for tool in tools)


def _tool(value: Any, where: str) -> Mapping[str, Any]:
    tool = _json(value) if isinstance(value, str) else value
    fields = _without_null(tool) if isinstance(tool, Mapping) else {}
    function = fields.get("function", fields)
    if not isinstance(function, Mapping) or not isinstance(function.get("name"), str):
        raise DataError(
            f"{where}: holds {shown(value)}; a tool is a dict with a 'name', or with a 'function' "
            "that has one; rename the column if it holds something else"
        )
    return fields if "function" in fields else {"type": "function", "function": fields}


def _message(value: Any, where: str) -> Message:
    fields = _without_null(value) if isinstance(value, Mapping) else {}
    calls = fields.get("tool_calls")
    if isinstance(calls, str):
        calls = _json(calls)
        if not isinstance(calls, list):
            raise DataError(f"{where}: holds {shown(value)}; 'tool_calls' must be a list")
        fields["tool_calls"] = calls
    content = fields.get("content")
    if isinstance(content, list | tuple):
        content = "".join(_part(part, where) for part in content)
    if content is None and calls and "content" in value:
        content = ""
    if not isinstance(fields.get("role"), str) or not isinstance(content, str):
        raise DataError(f"{where}: holds {shown(value)}; {_FORM}")
    return {**fields, "content": content}


def _part(value: Any, where: str) -> str:
    part = _without_null(value) if isinstance(value, Mapping) else {"text": value}
    text = part.get("text")
    if not isinstance(text, str) or part.get("type", "text") not in ("text", "input_text"):
        raise DataError(
            f"{where}: a message has the part {shown(value)}; parts must be text, as in "
            "{'type': 'text', 'text': ...}"
        )
    return text


def _without_null(value: Mapping[str, Any]) -> dict[str, Any]:
    """Tables of columns have a null where a message lacks a field of another one."""
    return {name: item for name, item in value.items() if item is not None}


def _written(text: str) -> Any:
    """The messages that a text is, as JSON or as Python prints them; None if it is words."""
    bare = text.strip()
    if not bare.startswith(("[", "{")) or not any(key in bare for key in ("role", "from")):
        return None
    value = _json(bare)
    if value is None:
        try:
            value = ast.literal_eval(bare)
        except (ValueError, SyntaxError, MemoryError, RecursionError):
            return None
    first = value[0] if isinstance(value, list) and value else value
    if not isinstance(first, dict):
        return None
    said_by = {"role", "content"} <= first.keys() or {"from", "value"} <= first.keys()
    return value if said_by or "messages" in first else None


def _json(text: str) -> Any:
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return None


def shown(value: Any) -> str:
    """A value for messages: short, and of which type."""
    text = repr(value)
    short = text if len(text) <= 60 else text[:57] + "..."
    return "null" if value is None else f"{short} of type {type(value).__name__}"
