"""Conversations as data write them, to the chat messages that a template takes."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, TypeGuard

from rvpo.data.tools import read_calls, read_tools, without_null
from rvpo.data.written import shown, written
from rvpo.errors import DataError
from rvpo.types import Message

_FORM: Final = (
    "a chat message is a dict with a text 'role' and a text 'content', or with 'from' and 'value'"
)
_HOLDERS: Final = ("messages", "conversations", "conversation", "input")
"""Fields in which a table holds its messages; the last one is that of requests to OpenAI."""
_SAID: Final = ("content", "value", "text", "parts")
_ROLES: Final = {
    **{role: role for role in ("system", "developer", "user", "assistant", "tool", "function")},
    **dict.fromkeys(["human", "prompter"], "user"),
    **dict.fromkeys(["gpt", "chatgpt", "bot", "chatbot", "model", "ai", "llm"], "assistant"),
}
"""Roles by their names in lower case; templates and rules know the spelling of the values."""
_CALLS: Final = ("function_call", "tool_call")
_FROM: Final = {
    **dict.fromkeys(["observation", "function_response", "tool_response"], "tool"),
    **{name: name for name in _CALLS},
}
"""Speakers of ShareGPT alone: templates have such names as roles of their own."""
_LEADING: Final = ("system", "developer")


@dataclass(frozen=True, slots=True)
class Conversation:
    """The content of a cell of a prompt column."""

    messages: tuple[Message, ...]
    tools: tuple[Mapping[str, Any], ...] = ()
    text: str | None = None
    """The cell where it is words; None where it is messages."""


def read_conversation(value: Any, where: str) -> Conversation:
    """The conversation of a cell: text is one user message, unless it is messages as JSON.

    Messages may have OpenAI's form, that of its requests or ShareGPT's. All fields of a message
    that hold something are kept, for the chat template to show. Parts of a content are joined; a
    content may be null where tools are called.

    Raises:
        DataError: it is no prompt, or has a part that would be lost, such as an image.
    """
    text = value if isinstance(value, str) else None
    if text is not None:
        value = _messages_in(text)
        if value is None:
            return Conversation(({"role": "user", "content": text},), text=text)
    tools: tuple[Mapping[str, Any], ...] = ()
    before: tuple[Message, ...] = ()
    if isinstance(value, Mapping) and (holder := _holder(value)) is not None:
        tools = read_tools(value.get("tools"), f"{where}, 'tools'")
        if isinstance(said := value.get("instructions", value.get("system")), str) and said:
            before = ({"role": "system", "content": said},)
        value = value[holder]
        if isinstance(value, str):
            value = [{"role": "user", "content": value}]
    if isinstance(value, Mapping):
        value = [value]
    if isinstance(value, str | bytes) or not isinstance(value, Sequence) or not value:
        raise DataError(f"{where}: is {shown(value)}; give text or a list of chat messages")
    return Conversation((*before, *_joined(_items(value, where), where)), tools)


def read_messages(value: Any, where: str) -> tuple[Message, ...]:
    """The messages of `read_conversation`."""
    return read_conversation(value, where).messages


def check_turn(messages: Sequence[Message], where: str, setting: str | None = None) -> None:
    """Raise DataError if the conversation does not wait for the assistant, or says nothing.

    Args:
        setting: the one that cuts the last turn off, for the message; None where there is none.
    """
    if not messages or messages[-1]["role"] == "assistant":
        ends = "ends with a turn of the assistant" if messages else "holds the answer alone"
        cut = f", or write {setting}=drop to cut the last turn off" if setting else ""
        raise DataError(
            f"{where}: {ends}, and the completion would be a second one; end it with the turn to "
            f"be answered, and keep an answer in a column of its own{cut}"
        )
    if messages[-1]["role"] == "user" and not messages[-1]["content"].strip():
        raise DataError(
            f"{where}: the turn to be answered is empty; give it words, or leave the row out"
        )


def without_answer(messages: tuple[Message, ...]) -> tuple[Message, ...]:
    """A conversation without the assistant's turn that it ends with, if it does."""
    return messages[:-1] if messages[-1]["role"] == "assistant" else messages


def with_system(messages: tuple[Message, ...], system_prompt: str | None) -> tuple[Message, ...]:
    """A conversation after a system message; as it is where it has one, or there is none to add."""
    if system_prompt is None or has_system(messages):
        return messages
    return ({"role": "system", "content": system_prompt}, *messages)


def has_system(messages: Sequence[Message]) -> bool:
    """True where a conversation brings a system message."""
    return any(message["role"] in _LEADING for message in messages)


def _messages_in(text: str) -> Any:
    """The messages that a text is; None if it is words."""
    keys = ("role", "from", *_HOLDERS)
    value = written(text) if any(key in text for key in keys) else None
    first = value
    while isinstance(first, list) and first:
        first = first[0]
    if not isinstance(first, dict):
        return None
    said_by = {"role", "content"} <= first.keys() or {"from", "value"} <= first.keys()
    holder = _holder(first)
    holds = holder is not None and isinstance(first[holder], list)
    return value if said_by or holds else None


def _holder(table: Mapping[str, Any]) -> str | None:
    if "role" in table or "from" in table:
        return None
    return next((name for name in _HOLDERS if table.get(name) is not None), None)


def _items(value: Sequence[Any], where: str) -> Sequence[Any]:
    """The messages of a list, which may be that of a single turn of several messages."""
    if not all(isinstance(item, list | tuple) for item in value):
        return value
    if len(value) > 1:
        raise DataError(
            f"{where}: is {len(value)} turns, of which each waits for an answer, and a prompt has "
            "one; give the messages up to the turn to be answered"
        )
    turn: Sequence[Any] = value[0]
    return turn


def _joined(items: Sequence[Any], where: str) -> Iterator[Message]:
    """The messages of items, of which calls and thoughts may be items of their own."""
    turn: dict[str, Any] | None = None
    thought = ""
    for item in items:
        kind = item.get("type") if isinstance(item, Mapping) else None
        if kind == "reasoning":
            thought += _text(item.get("summary") or item.get("content") or "", where)
            continue
        message = _message(item, where)
        is_said = message["role"] == "assistant"
        if is_said and not thought and kind == "function_call" and _is_said(turn):
            turn["tool_calls"] = [*turn.get("tool_calls", ()), *message["tool_calls"]]
            continue
        if thought and is_said:
            message, thought = {**message, "reasoning_content": thought}, ""
        if turn is not None:
            yield turn
        turn = message
    if turn is not None:
        yield turn
    if thought:
        raise DataError(f"{where}: ends with a thought of the assistant; end it with a message")


def _is_said(turn: dict[str, Any] | None) -> TypeGuard[dict[str, Any]]:
    return turn is not None and turn["role"] == "assistant"


def _message(value: Any, where: str) -> dict[str, Any]:
    fields = without_null(value) if isinstance(value, Mapping) else {}
    if fields.get("type") == "function_call":
        call: dict[str, Any] = {
            name: fields[name] for name in ("name", "arguments") if name in fields
        }
        call |= {"id": name} if (name := fields.get("call_id")) else {}
        return {"role": "assistant", "content": "", "tool_calls": read_calls(call, where)}
    if fields.get("type") == "function_call_output":
        named = {"tool_call_id": name} if (name := fields.get("call_id")) else {}
        return {"role": "tool", "content": _text(fields.get("output"), where), **named}
    if fields.get("type") == "message":
        fields = {k: v for k, v in fields.items() if k not in ("type", "id", "status")}
    role, content = _speaker(fields), _content(fields)
    if role in _CALLS and "from" in value:
        return {"role": "assistant", "content": "", "tool_calls": read_calls(content, where)}
    if role == "assistant" and "tool_calls" not in fields and "function_call" in fields:
        fields["tool_calls"] = fields.pop("function_call")  # OpenAI's older chats
    if "tool_calls" in fields:
        fields["tool_calls"] = read_calls(fields["tool_calls"], where)
    if content is None and fields.get("tool_calls"):
        content = ""
    if isinstance(content, list | tuple | Mapping):
        content = _text(content, where)
    if isinstance(role, str) and content is None:
        raise DataError(
            f"{where}: holds a turn of '{role}' without content, which may be empty text where "
            f"there is nothing to say; {_FORM}"
        )
    if not isinstance(role, str) or not isinstance(content, str):
        raise DataError(f"{where}: holds {shown(value)}; {_FORM}")
    return {**fields, "role": role, "content": content}


def _speaker(fields: dict[str, Any]) -> Any:
    """Role of a message, of which the field that names it is taken out unless it is `role`."""
    named = fields.get("role")
    is_shared = named is None and "from" in fields
    if is_shared:
        named = fields.pop("from")
    if not isinstance(named, str):
        return named
    known = _ROLES | (_FROM if is_shared else {})
    return known.get(named.strip().casefold(), named)


def _content(fields: dict[str, Any]) -> Any:
    """Words of a message, whose field is taken out unless it is `content`."""
    if "content" in fields:
        return fields["content"]
    name = next((name for name in _SAID if name in fields), None)
    return None if name is None else fields.pop(name)


def _text(content: Any, where: str) -> str:
    """Parts of a content, joined."""
    parts = [content] if isinstance(content, Mapping | str) else content
    if not isinstance(parts, list | tuple):
        raise DataError(f"{where}: a message says {shown(content)}; give text")
    return "".join(_part(part, where) for part in parts)


def _part(value: Any, where: str) -> str:
    part = without_null(value) if isinstance(value, Mapping) else {"text": value}
    text = part.get("text")
    kinds = ("text", "input_text", "output_text", "summary_text", "reasoning_text")
    if not isinstance(text, str) or part.get("type", "text") not in kinds:
        raise DataError(
            f"{where}: a message has the part {shown(value)}; parts must be text, as in "
            "{'type': 'text', 'text': ...}"
        )
    return text
