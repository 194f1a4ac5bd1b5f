"""What the judge's reply means.

A reply is read only where it can mean one thing. White space, fences, a leading thought, stray
backslashes and prose that says nothing of a verdict are read over. Whatever else stands beside the
object may contradict it or show that it is a quotation: such a reply is unreadable, and asked for
again.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from rvpo.judge.types import QuestionKind

MAX_REASON_LENGTH = 400
"""Characters of a reason, where the endpoint holds replies to the schema."""

_Pairs = list[tuple[str, Any]]

_KEYS: dict[QuestionKind, str] = {
    "criterion": "met",
    "rating": "rating",
    "grade": "criteria_met",
}
_REASONS: dict[QuestionKind, str] = {
    "criterion": "reason",
    "rating": "reason",
    "grade": "explanation",
}
_RATINGS = range(1, 11)

_MARK = re.compile(r'\\["\\]|["{}]')
_ESCAPE = re.compile(r'\\(["\\/bfnrt]|u[0-9a-fA-F]{4})?')
_OBJECT_START = re.compile(r"""\{\s*(?:["'A-Za-z]|\Z)""")

_THOUGHT = re.compile(r"<(think|thinking)>(.*?</\1>)?", re.IGNORECASE | re.DOTALL)
_TAG = re.compile(r"[<\[]/?(?:think|thinking|thought|reasoning)[>\]]", re.IGNORECASE)
_CLOSING_LINE = re.compile(r"^[ \t]*</think(?:ing)?>[ \t]*$", re.IGNORECASE | re.MULTILINE)

# Words by which prose states a verdict, takes one back, or marks the object as somebody else's;
# and marks of channels, whose thoughts have no end that could be told from their text.
_TELLING = re.compile(
    r"""
    <\|
    | n['\u2019]t(?![a-z])
    | (?<![a-z])(?:
        met | unmet | (?:un)?true | false | yes | no | not | never | (?:in)?correct\w* | wrong\w*
      | mistak\w* | fail\w* | pass(?:es|ed)? | (?:un|dis)?satisf\w* | (?:un)?fulfil\w* | violat\w*
      | rat(?:e[ds]?|ings?) | scor(?:e[ds]?|ing)
      | would | could | should | might | may | maybe | perhaps | if | instead | actually
      | example\w* | contain\w* | quot\w* | analysis\w* | assistantfinal\w*
    )(?![a-z])
    """,
    re.IGNORECASE | re.ASCII | re.VERBOSE,
)
_NUMBER = re.compile(
    r"\d|(?<![a-z])(?:one|two|three|four|five|six|seven|eight|nine|ten)(?![a-z])", re.IGNORECASE
)


class Unreadable(ValueError):
    """A reply that states no one verdict. Its text is a reason that repeats, to be counted."""


@dataclass(frozen=True, slots=True)
class _Verdicts:
    """An object of the reply: every value that it gives the key, and its last reason."""

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
    reason = {_REASONS[kind]: {"type": "string", "maxLength": MAX_REASON_LENGTH}}
    properties: dict[str, Any] = reason if reasons or kind == "grade" else {}
    properties[_KEYS[kind]] = verdict
    return {
        "type": "object",
        "properties": properties,
        "required": list(properties),
        "additionalProperties": False,
    }


def read(kind: QuestionKind, text: str, *, cut: bool = False) -> tuple[float, str]:
    """The verdict in a reply, in time linear in its length.

    Args:
        kind: of the question.
        text: the reply.
        cut: it ended at the token limit, so that only an object and nothing else is whole.

    Returns:
        1 or 0 for a criterion that is met or not, a rating's place between 0 (1) and 1 (10); and
        the judge's reason, empty where it gave none.

    Raises:
        Unreadable: the reply states no verdict, states it in no allowed form, breaks off, or
            says anything that may contradict it.
    """
    text = text.encode("utf-8", "replace").decode("utf-8").strip()
    if not text:
        raise Unreadable("empty reply")
    whole = _parse(text, _KEYS[kind])
    if whole is None and cut:
        raise Unreadable("truncated")
    found = _search(text, kind) if whole is None else [whole]
    values = [_value(kind, value) for verdicts in found for value in verdicts.values]
    if not values:
        raise Unreadable("no verdict")
    if len(set(values)) > 1:
        raise Unreadable("verdicts disagree")
    return values[0], found[-1].reason


def _value(kind: QuestionKind, value: Any) -> float:
    if kind != "rating":
        if not isinstance(value, bool):
            raise Unreadable(f"{_KEYS[kind]} is neither true nor false")
        return float(value)
    if isinstance(value, bool) or not isinstance(value, int) or value not in _RATINGS:
        raise Unreadable("rating is no whole number from 1 to 10")
    return (value - _RATINGS[0]) / (_RATINGS[-1] - _RATINGS[0])


def _search(text: str, kind: QuestionKind) -> list[_Verdicts]:
    """The objects that hold the key, in a reply that is not one object and nothing else."""
    text = _without_thought(text, _KEYS[kind])
    groups, unclosed = _braces(text)
    found: list[_Verdicts] = []
    prose: list[str] = []
    end_of_last = end_of_verdict = 0
    closed: list[tuple[int, int]] = []
    for start, end in groups:
        if start < end_of_last:
            continue  # in a string of an object, or the other reading of the marks
        verdicts = _parse(text[start:end], _KEYS[kind])
        if verdicts is None:
            raise Unreadable("malformed object")
        closed.append((start, end))
        end_of_last = end
        if verdicts.values:
            found.append(verdicts)
            prose.append(text[end_of_verdict:start])
            end_of_verdict = end
    prose.append(text[end_of_verdict:])
    if any(_OBJECT_START.match(text, start) for start in _outside(unclosed, closed)):
        raise Unreadable("truncated")
    if found:
        _check_prose(prose, kind)
    return found


def _without_thought(text: str, key: str) -> str:
    """What follows a thought at the beginning. Markers anywhere else are left to be refused."""
    thought = _THOUGHT.match(text)
    if thought is not None:
        if thought[2] is None:
            raise Unreadable("unfinished thought")
        return text[thought.end() :]
    # Servers whose chat template opens the thought send only its end, on a line of its own.
    end = _CLOSING_LINE.search(text)
    if end is None or len(_TAG.findall(text)) > 1:
        return text
    # With a verdict in front of it, the marker may as well be one that the judge quotes.
    if re.search(rf"{key}[\s\"']*:", text[: end.start()], re.IGNORECASE):
        raise Unreadable("unclear thought")
    return text[end.end() :]


def _outside(positions: list[int], spans: list[tuple[int, int]]) -> Iterator[int]:
    """The positions in none of the spans, which are in order and apart."""
    ahead = iter(spans)
    span = next(ahead, None)
    for position in sorted(positions):
        while span is not None and span[1] <= position:
            span = next(ahead, None)
        if span is None or position < span[0]:
            yield position


def _check_prose(prose: list[str], kind: QuestionKind) -> None:
    for part in prose:
        if _TAG.search(part):
            raise Unreadable("unclear thought")
        if _TELLING.search(part) or (kind == "rating" and _NUMBER.search(part)):
            raise Unreadable("verdict in prose")


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


def _parse(text: str, key: str) -> _Verdicts | None:
    """Read an object, as it is or with the backslashes doubled that begin no escape of JSON.

    Returns:
        None where the text is no object.

    Raises:
        Unreadable: it speaks of the verdict elsewhere than under its key at the top level.
    """
    for repair in (False, True):
        if repair:
            text = _ESCAPE.sub(lambda escape: escape[0] if escape[1] else r"\\", text)
        objects: list[_Pairs] = []
        try:
            value = json.loads(text, strict=False, object_pairs_hook=_keeper(objects))
        except (ValueError, RecursionError):
            continue
        return _verdicts(objects, key) if objects and value is objects[-1] else None
    return None


def _keeper(objects: list[_Pairs]) -> Callable[[_Pairs], _Pairs]:
    # Pairs rather than a dict: a key that an object repeats must not hide its first value.
    def keep(pairs: _Pairs) -> _Pairs:
        objects.append(pairs)
        return pairs

    return keep


def _verdicts(objects: list[_Pairs], key: str) -> _Verdicts:
    """Of an object and all objects in it; the outermost comes last."""
    values = tuple(value for name, value in objects[-1] if name == key)
    if sum(bool(_TELLING.search(name)) for pairs in objects for name, _ in pairs) != len(values):
        raise Unreadable("misplaced verdict")
    named = _REASONS.values()
    reasons = [v for name, v in objects[-1] if name in named and isinstance(v, str)]
    reason = reasons[-1].strip() if reasons else ""
    return _Verdicts(values, reason.encode("utf-8", "replace").decode("utf-8"))
