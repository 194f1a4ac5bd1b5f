"""What the judge's reply means.

A reply is read only where it can mean one thing. Prose around the object, markdown fences, thoughts
and stray backslashes are read over; a reply whose every mention of the verdict is not accounted
for by readable objects that agree is unreadable, and asked for again.
"""

from __future__ import annotations

import json
import re
from bisect import bisect_right
from dataclasses import dataclass
from typing import Any

from rvpo.judge.types import QuestionKind

MAX_REASON_LENGTH = 400
"""Characters of a reason, where the endpoint holds replies to the schema."""

_KEYS: dict[QuestionKind, str] = {"criterion": "met", "rating": "rating"}
_RATINGS = range(1, 11)

_MARK = re.compile(r'\\["\\]|["{}]')
_ESCAPE = re.compile(r'\\(["\\/bfnrt]|u[0-9a-fA-F]{4})?')
_OBJECT_START = re.compile(r'\{\s*(?:"|\Z)')


class Unreadable(ValueError):
    """A reply that states no one verdict. Its text is a reason that repeats, to be counted."""


@dataclass(frozen=True, slots=True)
class _Verdicts:
    """An object of the reply: every value it gives the key, at any depth, and the last reason."""

    values: tuple[Any, ...]
    reason: str


def schema(kind: QuestionKind, reasons: bool) -> dict[str, Any]:
    """The JSON schema of a reply, for endpoints that can hold a model to one.

    Args:
        kind: of the question.
        reasons: the reason is asked for, and comes before the verdict that it leads to.
    """
    verdict: dict[str, Any] = {"type": "boolean"}
    if kind == "rating":
        # An enum rather than a range: every implementation of structured output knows it.
        verdict = {"type": "integer", "enum": list(_RATINGS)}
    properties = {"reason": {"type": "string", "maxLength": MAX_REASON_LENGTH}} if reasons else {}
    properties[_KEYS[kind]] = verdict
    return {
        "type": "object",
        "properties": properties,
        "required": list(properties),
        "additionalProperties": False,
    }


def read(kind: QuestionKind, text: str) -> tuple[float, str]:
    """The verdict in a reply, in time linear in its length.

    Args:
        kind: of the question.
        text: the whole reply.

    Returns:
        1 or 0 for a criterion that is met or not, a rating's place between 0 (1) and 1 (10); and
        the judge's reason, empty where it gave none.

    Raises:
        Unreadable: the reply states no verdict, states it in no allowed form, breaks off, or
            states verdicts that disagree.
    """
    text = text.encode("utf-8", "replace").decode("utf-8").strip()
    if not text:
        raise Unreadable("empty reply")
    key = _KEYS[kind]
    try:
        found = [_parse(text, key)]
    except Unreadable:
        found = _search(text, key)
    values = [_value(kind, value) for verdicts in found for value in verdicts.values]
    if not values:
        raise Unreadable("no verdict")
    if len(set(values)) > 1:
        raise Unreadable("verdicts disagree")
    return values[0], found[-1].reason


def _value(kind: QuestionKind, value: Any) -> float:
    if kind == "criterion":
        if not isinstance(value, bool):
            raise Unreadable("met is neither true nor false")
        return float(value)
    if isinstance(value, bool) or not isinstance(value, int) or value not in _RATINGS:
        raise Unreadable("rating is no whole number from 1 to 10")
    return (value - _RATINGS[0]) / (_RATINGS[-1] - _RATINGS[0])


def _search(text: str, key: str) -> list[_Verdicts]:
    """The objects that hold the key, in a reply that is not one object and nothing else."""
    # Servers whose chat template opens the thought send only its end.
    text = text.rpartition("</think>")[2]
    mention = re.compile(rf'"{key}"\s*:')
    objects, unclosed = _braces(text)
    found: list[_Verdicts] = []
    starts: list[int] = []
    ends: list[int] = []

    def inside(position: int) -> bool:
        index = bisect_right(starts, position) - 1
        return index >= 0 and position < ends[index]

    for start, end in objects:
        if mention.search(text, start, end) and not inside(start):
            found.append(_parse(text[start:end], key))
            starts.append(start)
            ends.append(end)
    if any(not inside(match.start()) for match in re.finditer("<think>", text)):
        raise Unreadable("unfinished thought")
    if any(_OBJECT_START.match(text, start) and not inside(start) for start in unclosed):
        raise Unreadable("truncated")
    # What a broken object or a quotation says must not be outvoted by an object beside it.
    if len(mention.findall(text)) != sum(len(verdicts.values) for verdicts in found):
        raise Unreadable("malformed object")
    return found


def _braces(text: str) -> tuple[list[tuple[int, int]], list[int]]:
    """Where outermost balanced braces start and end, in order, and where unclosed ones start.

    Braces in strings do not count, but where strings begin depends on whether a quotation mark of
    the prose is left open. So both readings are followed, by the parity of the marks so far.
    """
    opened: tuple[list[int], list[int]] = ([], [])
    closed: tuple[list[tuple[int, int]], list[tuple[int, int]]] = ([], [])
    parity = 0
    for mark in _MARK.finditer(text):
        character = mark[0]
        if character == '"':
            parity = 1 - parity
        elif character == "{":
            opened[parity].append(mark.start())
        elif character == "}" and opened[parity]:
            start = opened[parity].pop()
            while closed[parity] and closed[parity][-1][0] > start:
                closed[parity].pop()
            closed[parity].append((start, mark.end()))
    return sorted(closed[0] + closed[1]), opened[0] + opened[1]


def _parse(text: str, key: str) -> _Verdicts:
    """Read JSON, as it is or with the backslashes doubled that begin no escape of JSON."""
    doubled = _ESCAPE.sub(lambda escape: escape[0] if escape[1] else r"\\", text)
    for candidate in dict.fromkeys((text, doubled)):
        try:
            return _load(candidate, key)
        except (ValueError, RecursionError):
            continue
    raise Unreadable("malformed object")


def _load(text: str, key: str) -> _Verdicts:
    values: list[Any] = []
    reasons: list[str] = []

    def collect(pairs: list[tuple[str, Any]]) -> None:
        # Pairs rather than a dict: a key that an object repeats must not hide its first value.
        values.extend(value for name, value in pairs if name == key)
        reasons.extend(
            value for name, value in pairs if name == "reason" and isinstance(value, str)
        )

    json.loads(text, strict=False, object_pairs_hook=collect)
    reason = reasons[-1].strip() if reasons else ""
    return _Verdicts(tuple(values), reason.encode("utf-8", "replace").decode("utf-8"))
