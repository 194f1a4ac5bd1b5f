"""Calls in a response: as chat templates have models write them, or as ToolRL does.

What is read is a list of calls, each {function: {parameter: value}}, and whether the response has
the form that was asked for. The two are told apart because an answer that nobody can read passes
where no call is wanted, and so does a block of which every line is broken.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Final

Call = dict[str, Any]

_BLOCK: Final = re.compile(r"<tool_call>(.*?)(?:</tool_call>|\Z)", re.DOTALL)
_FENCE: Final = re.compile(r"```(?:json)?\s*(.*?)```", re.DOTALL)
_THOUGHT: Final = re.compile(r"\A\s*<think>.*?(?:</think>|\Z)", re.DOTALL)
_TOOLRL: Final = re.compile(
    r"<think>(?:(?!</think>).)*</think>\s*"
    r"(?P<block><tool_call>(?:(?!</?tool_call>).)*</tool_call>)?\s*"
    r"(?P<reply><response>.*</response>)?",
    re.DOTALL,
)
_NO_TOOL: Final = "none"


@dataclass(frozen=True, slots=True)
class Decoded:
    """What a response calls."""

    calls: tuple[Call, ...]
    """Empty where it calls nothing, or nothing that can be read."""
    is_well_formed: bool
    """Whether it is of the form that was asked for, every call of it readable."""


def decode_tools(text: str, own_name: Callable[[str], str]) -> Decoded:
    """Calls as models write them that were shown tools: JSON objects with `name` and `arguments`
    or `parameters`, in blocks of <tool_call> (Hermes, Qwen), or the whole response (Llama 3), which
    may be a list or fenced. A leading thought is read over.

    Args:
        own_name: of a function, by the name that the model was shown.
    """
    text = _THOUGHT.sub("", text).strip()
    blocks = [match[1].strip() for match in _BLOCK.finditer(text)]
    if blocks:
        found = [_parsed(block) for block in blocks]
    else:
        fenced = _FENCE.search(text)
        body = fenced[1].strip() if fenced else text
        if not body.startswith(("{", "[")):
            return Decoded((), is_well_formed=True)  # an answer in words
        found = [_parsed(body)]
    calls = [call for value in found for call in _calls(value)]
    readable = [call for call in calls if call is not None]
    renamed = ({own_name(name): values for name, values in c.items()} for c in readable)
    return Decoded(tuple(renamed), len(readable) == len(calls))


def decode_toolrl(text: str) -> Decoded:
    """Calls as ToolRL's evaluation reads them (ToolRL repository, benchmarks/BFCL/rlla_qwen.py):
    the last block, a JSON object a line; what is none is dropped, and so is a call of "none"."""
    blocks = _BLOCK.findall(text)
    lines = [line for line in (blocks[-1] if blocks else "").split("\n") if line.strip()]
    read = [_calls(_parsed(line)) for line in lines]
    calls = [call for found in read for call in found if call is not None]
    form = _TOOLRL.fullmatch(text.strip())
    has_part = form is not None and bool(form["block"] or form["reply"])
    whole = all(call is not None for found in read for call in found)
    kept = (c for c in calls if next(iter(c)).lower() != _NO_TOOL)
    return Decoded(tuple(kept), has_part and whole)


def _parsed(text: str) -> Any:
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return None


def _calls(value: Any) -> Sequence[Call | None]:
    """The calls of a JSON value; None for what is no call."""
    if isinstance(value, list):
        return [call for each in value for call in _calls(each)]
    if not isinstance(value, dict) or not isinstance(value.get("name"), str):
        return [None]
    arguments = value.get("arguments", value.get("parameters", {}))
    if isinstance(arguments, str):  # some models write them as JSON inside the JSON
        arguments = _parsed(arguments)
    return [{value["name"]: arguments}] if isinstance(arguments, dict) else [None]
