"""Calls in a response: as chat templates have models write them, or as ToolRL does.

What is read is a list of calls, each {function: {parameter: value}}, and whether the response has
the form that was asked for. The two are told apart because an answer that nobody can read passes
where no call is wanted, and so does a block of which every line is broken.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Final

from rvpo.calls import FENCE, PYTHON_TAG, arguments_of, holds_call, named, parsed

DecodedCall = dict[str, Any]

_OPEN, _CLOSE = "<tool_call>", "</tool_call>"
_BLOCK: Final = re.compile(r"<tool_call>(.*?)(?:</tool_call>|\Z)", re.DOTALL)
# Possessive, so that a response that does not fit is given up at once.
_TOOLRL: Final = re.compile(
    r"<think>(?:(?!</think>).)*+</think>\s*+"
    r"(?P<block><tool_call>(?:(?!</?tool_call>).)*+</tool_call>)?\s*+"
    r"(?P<reply><response>(?:(?!</?tool_call>).)*</response>)?",
    re.DOTALL,
)
_NO_TOOL: Final = "none"
_MOST_LEVELS: Final = 64
"""Levels of a value that is read: whoever walks down deeper ones meets the end of Python's stack.
BFCL's own have fewer than ten."""


@dataclass(frozen=True, slots=True)
class Decoded:
    """Calls of a response."""

    calls: tuple[DecodedCall, ...]
    """Calls in their order; empty where there are none, or none that can be read."""
    is_well_formed: bool
    """True where it has the form that was asked for, every call of it readable."""


def storable(value: Any) -> Any:
    """The value with words in place of NaN and infinity, which Python reads and JSON does not
    have."""
    if isinstance(value, dict):
        return {key: storable(each) for key, each in value.items()}
    if isinstance(value, list):
        return [storable(each) for each in value]
    return str(value) if isinstance(value, float) and not math.isfinite(value) else value


def decode_tools(text: str, own_name: Callable[[str], str]) -> Decoded:
    """Calls as models write them that were shown tools: JSON objects with `name` and `arguments`
    or `parameters`, in blocks of <tool_call> (Hermes, Qwen), or the whole response (Llama 3), which
    may be a list or fenced. All up to the end of a thought is read over.

    Without a call a response is well formed if it is words, and not if it is empty, a thought that
    never ends, or words with a call among them that stands where none is read.

    Args:
        own_name: gives a function's name for the one that the model was shown.
    """
    thought, ended, answer = text.partition("</think>")
    if not ended and text.lstrip().startswith("<think>"):
        return Decoded((), is_well_formed=False)
    found = _values((answer if ended else thought).strip().removeprefix(PYTHON_TAG).strip())
    if isinstance(found, str):
        return Decoded((), is_well_formed=bool(found) and not holds_call(found))
    calls = [call for value in found for call in _calls(value)]
    readable = [call for call in calls if call is not None]
    renamed = ({own_name(name): values for name, values in c.items()} for c in readable)
    return Decoded(tuple(renamed), len(readable) == len(calls))


def _values(text: str) -> list[Any] | str:
    """Values that stand in the place of calls, None for what is no JSON; else the text itself."""
    whole = _shallow(text) if text.startswith(("{", "[")) else None
    if whole is not None:
        return [whole]
    if blocks := _BLOCK.findall(text):
        return [_shallow(block.strip()) for block in blocks]
    fenced = FENCE.search(text)
    body = fenced[1].strip() if fenced else text
    return [_shallow(body)] if body.startswith(("{", "[")) else text


def decode_toolrl(text: str) -> Decoded:
    """Calls as ToolRL's evaluation reads them (ToolRL repository, benchmarks/BFCL/rlla_qwen.py).

    What follows the last <tool_call> is read line by line, each a JSON object with `name` and
    `parameters`; a line that is none is dropped, and so is a call of "none". Parameters that are no
    table spoil the answer: it then calls nothing.

    Well formed is a thought, then a block of calls, each readable, or a response, or both.
    """
    opened = text.rpartition(_OPEN)[2].partition(_CLOSE)[0] if _OPEN in text else ""
    lines = [line for line in opened.split("\n") if line.strip()]
    read = [_toolrl_call(line) for line in lines]
    calls = [call for call in read if call is not None]
    wanted = [call for call in calls if next(iter(call)).strip().lower() != _NO_TOOL]
    form = _TOOLRL.fullmatch(text.strip())
    if form is None:
        is_well_formed = False
    elif form["block"]:
        is_well_formed = bool(lines) and None not in read
    else:
        is_well_formed = bool(form["reply"])
    if not all(isinstance(each, dict) for call in wanted for each in call.values()):
        return Decoded((), is_well_formed=False)
    return Decoded(tuple(wanted), is_well_formed)


def _toolrl_call(line: str) -> DecodedCall | None:
    value = _shallow(line)
    if not isinstance(value, dict) or not isinstance(value.get("name"), str):
        return None
    return {value["name"]: value["parameters"]} if "parameters" in value else None


def _calls(value: Any) -> Sequence[DecodedCall | None]:
    """The calls of a JSON value; None for what is no call."""
    if isinstance(value, list):
        return [call for each in value for call in _calls(each)]
    name = named(value)
    arguments = None if name is None else arguments_of(value)
    if name is None or not isinstance(arguments, dict) or not _is_shallow(arguments):
        return [None]
    return [{name: arguments}]


def _shallow(text: str) -> Any:
    """The value of a JSON text; None where it is none, or has too many levels."""
    value = parsed(text)
    return value if _is_shallow(value) else None


def _is_shallow(value: Any) -> bool:
    level = [value]
    for _ in range(_MOST_LEVELS):
        level = [each for held in level for each in _held(held)]
    return not level


def _held(value: Any) -> Iterable[Any]:
    if isinstance(value, dict):
        return value.values()
    return value if isinstance(value, list) else ()
