"""Calls of tools in what a model wrote."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from rvpo.calls import FENCE, PYTHON_TAG, arguments_of, holds_call, named, parsed

_OPEN, _CLOSE = "<tool_call>", "</tool_call>"
_FUNCTION: Final = re.compile(r"<function=([^>\s]+)>(.*?)(?:</function>|\Z)", re.DOTALL)
_PARAMETER, _PARAMETER_END = "<parameter=", "</parameter>"
_MISTRAL: Final = "[TOOL_CALLS]"
# Possessive all over: a model may write any number of blanks, and takes no time by that.
_NAMED: Final = re.compile(
    r"\s*+([\w.-]++)\s*+(?:\[CALL_ID\]\s*+([\w-]++)\s*+)?(?:\[ARGS\])?\s*+(?={)"
)
_CHANNEL: Final = re.compile(  # gpt-oss: a message to a function, at the beginning of one
    r"(?:\A|<\|(?:end|call)\|>)\s*+(?:<\|start\|>)?\s*+(?:assistant)?\s*+"
    r"(?:<\|channel\|>commentary)?\s*+to=(?:functions\.)?(?P<name>[\w.-]++)[^<]*+"
    r"(?:<\|(?:channel|constrain)\|>[^<]*+)*+<\|message\|>"
    r"(?P<body>.*?)(?=<\|(?:call|end|start|return)\|>|\Z)",
    re.DOTALL,
)
_PREFIX: Final = re.compile(rf"(?:{re.escape(PYTHON_TAG)}|<\|tool_call\|>)\s*")
_SUFFIX: Final = "<|/tool_call|>"
_BLANK: Final = re.compile(r"[\s;,]*")


@dataclass(frozen=True, slots=True)
class ToolCall:
    """One call, as far as it can be read."""

    name: str
    arguments: Mapping[str, Any]
    problem: str = ""
    """Reason that it cannot be made, in words for the model; empty where it can."""
    id: str = ""
    """The model's own; empty where it gave none."""

    @property
    def as_message(self) -> dict[str, Any]:
        """The call as OpenAI's API has one."""
        called = {"name": self.name, "arguments": dict(self.arguments)}
        own = {"id": self.id} if self.id else {}
        return {**own, "type": "function", "function": called}


def tool_calls(text: str, tools: Sequence[Mapping[str, Any]]) -> list[ToolCall]:
    """The calls of an answer, in order.

    What is read is JSON with `name` and `arguments` (or `parameters`), one call or a list, in
    blocks of <tool_call> (Hermes, Qwen), behind [TOOL_CALLS] (Mistral), or as the whole answer,
    fenced or not (Llama 3); tags of <function=...> (Qwen3-Coder); and messages to functions
    (gpt-oss). Whatever else is in an answer with such marks is read over. JSON that calls nothing
    is an answer.

    Args:
        text: the answer, without thoughts.
        tools: functions that the model was shown, by which the texts in tags get their types.
    """
    if (channels := list(_CHANNEL.finditer(text))) != []:
        return [_told(found["name"], found["body"]) for found in channels]
    if _MISTRAL in text:
        return list(_behind_marks(text))
    if _OPEN in text:
        return list(_in_blocks(text, tools))
    if tagged := list(_tagged(text, tools)):
        return tagged
    return _whole(text.strip())


def _in_blocks(text: str, tools: Sequence[Mapping[str, Any]]) -> Iterator[ToolCall]:
    """The calls of blocks. A text in an argument may hold the mark that closes one, so JSON says
    itself where it ends."""
    place = text.find(_OPEN)
    while place >= 0:
        place += len(_OPEN)
        values, stop, problem = _values(text, place)
        end = text.find(_CLOSE, place if problem else stop)
        end = len(text) if end < 0 else end
        if problem:
            tagged = list(_tagged(text[place:end], tools))
            yield from tagged or [ToolCall("", {}, problem)]
        elif text[stop:end].strip():
            yield ToolCall("", {}, "there is something behind the JSON of the call")
        else:
            yield from _each(values)
        place = text.find(_OPEN, end)


def _behind_marks(text: str) -> Iterator[ToolCall]:
    """The calls of Mistral's: a list of them, or a name and its arguments."""
    for part in text.split(_MISTRAL)[1:]:
        form = _NAMED.match(part)
        if form is None:
            values, _, problem = _values(part, 0)
            yield from [ToolCall("", {}, problem)] if problem else _each(values)
        else:
            values, _, problem = _values(part, form.end())
            arguments = values[0] if values else None
            yield _call({"name": form[1], "arguments": arguments, "id": form[2]}, problem)


def _tagged(text: str, tools: Sequence[Mapping[str, Any]]) -> Iterator[ToolCall]:
    """The calls in tags of Qwen3-Coder: their values are texts, whatever their types."""
    for name, body in _FUNCTION.findall(text):
        shown = [tool["function"] for tool in tools if tool["function"]["name"] == name]
        types = shown[0].get("parameters", {}).get("properties", {}) if shown else {}
        given = {key: _typed(value, types.get(key)) for key, value in _parameters(body)}
        yield _call({"name": name, "arguments": given}, "")


def _parameters(body: str) -> Iterator[tuple[str, str]]:
    """Name and text of each parameter that is closed."""
    place = body.find(_PARAMETER)
    while place >= 0 and (end := body.find(_PARAMETER_END, place)) >= 0:
        name, is_opened, value = body[place + len(_PARAMETER) : end].partition(">")
        if is_opened and name and not re.search(r"\s", name):
            yield name, value.removeprefix("\n").removesuffix("\n")
        place = body.find(_PARAMETER, end)


def _typed(value: str, schema: Any) -> Any:
    """The text of a value as what its schema wants: JSON, unless that is a text."""
    if isinstance(schema, dict) and schema.get("type") == "string":
        return value
    found = parsed(value)
    return value if found is None and value.strip() != "null" else found


def _whole(text: str) -> list[ToolCall]:
    """The calls of an answer that is nothing else."""
    bare = _PREFIX.sub("", text, count=1) if _PREFIX.match(text) else text
    is_marked = bare != text
    bare = bare.removesuffix(_SUFFIX).strip()
    fence = FENCE.fullmatch(bare)
    bare = bare if fence is None else fence[1].strip()
    values, stop, problem = _values(bare, 0)
    problem = problem or ("there is something behind the JSON of the call" * (stop < len(bare)))
    calls = [each for value in values for each in (value if isinstance(value, list) else [value])]
    if problem:
        is_call = is_marked or (bare.startswith(("{", "[")) and holds_call(bare))
        return [ToolCall("", {}, problem)] if is_call else []
    if not is_marked and not all(_is_call(each) for each in calls):
        return []
    return [_call(each, "") for each in calls]


def _is_call(value: Any) -> bool:
    return named(value) is not None and ("arguments" in value or "parameters" in value)


def _values(text: str, place: int) -> tuple[list[Any], int, str]:
    """JSON values that follow each other, the place behind them, and what is wrong with the first
    that is none."""
    decoder, values = json.JSONDecoder(), list[Any]()
    place = _behind_blank(text, place)
    while not values or text.startswith(("{", "["), place):
        try:
            value, place = decoder.raw_decode(text, place)
        except (ValueError, RecursionError) as error:
            told = error.msg if isinstance(error, json.JSONDecodeError) else type(error).__name__
            return [], place, f"the call is no JSON ({told})"
        values.append(value)
        place = _behind_blank(text, place)
    return values, place, ""


def _behind_blank(text: str, place: int) -> int:
    found = _BLANK.match(text, place)
    return place if found is None else found.end()


def _told(name: str, body: str) -> ToolCall:
    values, _, problem = _values(body, 0) if body.strip() else ([{}], 0, "")
    return _call({"name": name, "arguments": values[0] if values else None}, problem)


def _each(values: Sequence[Any]) -> Iterator[ToolCall]:
    for value in values:
        for each in value if isinstance(value, list) else [value]:
            yield _call(each, "")


def _call(value: Any, problem: str) -> ToolCall:
    name = named(value)
    if name is None or not _is_text(name):
        return ToolCall("", {}, problem or "a call is a table with a name and arguments")
    arguments = arguments_of(value)
    if problem or not isinstance(arguments, dict):
        return ToolCall(name, {}, problem or "arguments must be a table")
    if not _is_text(arguments):
        return ToolCall(name, {}, "arguments hold what is no text")
    own = value.get("id")
    return ToolCall(name, arguments, id=own if isinstance(own, str) and _is_text(own) else "")


def _is_text(value: Any) -> bool:
    """False where a part of a value is half of a surrogate pair, which nothing can write down."""
    try:
        json.dumps(value, ensure_ascii=False).encode()
    except (UnicodeEncodeError, RecursionError):
        return False
    return True
