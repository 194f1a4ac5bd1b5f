"""The verdict in a judge's reply.

A reply is read only where it can mean one thing, by a white list: leading thoughts and the tokens
that end a turn are set aside; what is left is one object with the known keys and no others, as it
is or in a fence, with at most a line such as "Here is my verdict:" before it and a courtesy after
it. Whatever else stands beside the object may contradict it or show that it is a quotation: such a
reply is unreadable, and asked for again. How the object is spelt matters less: a trailing comma,
single quotes, Python's `True`, a key in capitals, a verdict in quotes and a rating of 7.0 can mean
one thing only.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeVar

from rvpo.judge.control_tokens import without_end_of_turn
from rvpo.judge.prompt import EXAMPLE_REASON
from rvpo.judge.types import Question, QuestionKind
from rvpo.scale import Grades, place, said, spelt
from rvpo.thinking import Thinking, closing

MAX_REASON_LENGTH = 400
"""Characters of a reason, where the endpoint holds replies to the schema."""

_KEYS: dict[QuestionKind, str] = {
    "criterion": "met",
    "rating": "rating",
    "grade": "criteria_met",
    "comparison": "better",
}
_REASONS: dict[QuestionKind, str] = {
    "criterion": "reason",
    "rating": "reason",
    "grade": "explanation",
    "comparison": "reason",
}
_BETTER: Mapping[str, float] = {"A": 1.0, "B": 0.0, "tie": 0.5}
"""Words for the better of two responses, with the share of the win that the first one has."""
_RATINGS: Grades = tuple((float(number), "") for number in range(1, 11))

_THOUGHTS = Thinking.of(
    f"{opening}{closing(opening)}"
    for opening in (
        *(f"<{word}>" for word in ("reason", "reasoning", "reflection", "scratchpad", "analysis")),
        "<|inner_prefix|>",
        "<|channel>",
    )
)
"""Thoughts of a judge whose chat template is not known: also what only a template makes a marker of
other models, for before an object it can be nothing else."""
_CHANNEL = re.compile(r"<\|channel\|>\s*(\w*)")
_MARKER = re.compile(
    r"[<\[◁][/|]?[\w:]{0,20}(?:think|thought|reason|reflection|scratchpad|analysis|inner|channel)",
    re.IGNORECASE,
)
_MOST_MARKERS = 200  # each thought is searched for its end: more would take their square in time
_WORD = r"(?:[\w-]{1,20}:)?(?:think|thinking|thoughts?)"
_TAG = re.compile(rf"[<\[◁](?:\||/)?(?:\w{{0,20}}_)?(?:{_WORD}|reasoning)\|?[>\]▷]", re.IGNORECASE)
_CLOSING_TAG = rf"(?:</{_WORD}>|\[/{_WORD}\]|◁/{_WORD}▷|<\|(?:end_(?:of_)?|/){_WORD}\|>)"
_CLOSING_LINE = re.compile(rf"^[ \t]*{_CLOSING_TAG}[ \t]*$", re.IGNORECASE | re.MULTILINE)
_CLOSING = re.compile(rf"{_CLOSING_TAG}[ \t]*\n", re.IGNORECASE)
_CLOSED = re.compile(rf"{_CLOSING_TAG}\Z", re.IGNORECASE)

# Lines that announce the object as the judge's own. "Answer" and "response" need a "my": the text
# that is judged is an answer and a response too.
_OPENING = re.compile(
    r"""
    (?: (?: sure | certainly | of\ course | okay | ok ) [!,.:]?+ \s++ )?+
    [*]{0,2}+
    (?: (?: here \ (?:is|are) | here['\u2019]s | this\ is ) \s++ )?+
    (?:
        my \s++ (?: (?:final|short) \s++ )?+
        (?: answer | response | verdict | judge?ment | evaluation | assessment | rating | grade )
      | (?: the \s++ )?+ (?: (?:final|requested) \s++ )?+
        (?: verdict | judge?ment | evaluation | assessment | rating | grade )
      | the \s++ (?:requested \s++)?+ (?: json (?: \s++ object )?+ | object )
        (?: \s++ you \s++ asked \s++ for )?+
    )
    (?: \s++ (?: as | in ) \s++ (?: an? \s++ )?+ json (?: \s++ (?: object | format ) )?+ )?+
    [*]{0,2}+ : [*]{0,2}+ \s*+
    """,
    re.IGNORECASE | re.VERBOSE,
)
_COURTESY = re.compile(
    r"""
    (?:
        (?: i \s++ )?+ hope \s++ (?: this | that | it ) \s++ helps
      | (?: please \s++ )?+ let \s++ me \s++ know \s++ if \s++ you
        \s++ (?: need | have | want | would \s++ like )
        \s++ (?: anything | any ) (?: \s++ (?: other | further | more | else ) )?+
        (?: \s++ (?: questions | help | details | information | assistance ) )?+
      | (?: thank \s++ you | thanks ) (?: \s++ for \s++ your \s++ time )?+
      | (?: have \s++ a \s++ (?: nice | good | great ) \s++ day )
    ) [.!]?+ \s*+
    """,
    re.IGNORECASE | re.VERBOSE,
)
_FENCE = re.compile(r"```(?:json[5lc]?|python|text)?+\s*+", re.IGNORECASE)
_FENCE_END = re.compile(r"\s*+```\s*+")

_STRING = r""" "(?:[^"\\]|\\.)*+" | '(?:[^'\\]|\\.)*+' """
_BRACE = re.compile(r"\{\s*+")
_KEY = re.compile(rf"({_STRING}) \s*+ : \s*+", re.VERBOSE | re.DOTALL)
_VALUE = re.compile(
    rf"({_STRING} | -?[0-9][0-9.eE+-]*+ | (?i:true|false|null|none)(?!\w) ) \s*+",
    re.VERBOSE | re.DOTALL,
)
_NEXT = re.compile(r",\s*+(\})?|(\})")
_ESCAPE = re.compile(r'\\(["\\/bfnrt]|u[0-9a-fA-F]{4})?')
_INNER = re.compile(r"""\\.|["]""", re.DOTALL)
_SPACE = re.compile(r"\s*+")

T = TypeVar("T")


class Unreadable(ValueError):
    """A reply that states no one verdict. Its text is a reason that repeats, to be counted."""


def grades(question: Question) -> Grades:
    """The grades that a question may be answered with; none where the answer is true or false."""
    return question.scale or (_RATINGS if question.kind == "rating" else ())


def is_graded(question: Question) -> bool:
    """True where a verdict may lie between 0 and 1."""
    return question.expected or question.kind == "comparison" or bool(grades(question))


def told(question: Question, value: float) -> str:
    """A verdict in words: "met", "7 of 10", "1 of 0 to 2 (partly)", "met by 83 %"."""
    if question.kind == "rating" and not question.scale and not question.expected:
        return f"{round(1 + value * 9)} of 10"
    if scale := grades(question):
        return said(scale, value)
    if question.expected:
        return f"met by {100 * value:.0f} %"
    return "met" if value else "not met"


def key_of(question: Question) -> str:
    """The key of the verdict in a reply."""
    graded = question.kind == "criterion" and question.scale
    return "grade" if graded else _KEYS[question.kind]


def schema(question: Question, reasons: bool) -> dict[str, Any]:
    """The JSON schema of a reply, for endpoints that can hold a model to one.

    Args:
        question: the one that it answers; its kind and scale alone matter.
        reasons: the reason is asked for, and comes before the verdict that it leads to.
    """
    verdict: dict[str, Any] = {"type": "boolean"}
    if scale := grades(question):
        # An enum rather than a range: every implementation of structured output knows it.
        numbers = [json.loads(spelt(number)) for number, _ in scale]
        whole = all(isinstance(number, int) for number in numbers)
        verdict = {"type": "integer" if whole else "number", "enum": numbers}
    kind = question.kind
    if kind == "comparison":
        verdict = {"type": "string", "enum": list(_BETTER)}
    reason = {_REASONS[kind]: {"type": "string", "maxLength": MAX_REASON_LENGTH}}
    properties: dict[str, Any] = reason if reasons or kind == "grade" else {}
    properties[key_of(question)] = verdict
    return {
        "type": "object",
        "properties": properties,
        "required": list(properties),
        "additionalProperties": False,
    }


def read(question: Question, text: str, *, cut: bool = False) -> tuple[float, str]:
    """The verdict in a reply, in time linear in its length.

    Args:
        question: the one that it answers; its kind and scale alone matter.
        text: the reply.
        cut: it ended at the token limit, so that only an object and nothing else is whole.

    Returns:
        1 or 0 for a criterion that is met or not, a grade's place between the lowest (0) and the
        highest (1), 1 or 0 where the first of two responses is the better or the worse one and .5
        where neither is; and the judge's reason, empty where it gave none.

    Raises:
        Unreadable: the reply states no verdict, states it in no allowed form, breaks off, or
            says anything that may contradict it.
    """
    members = the_object(text, key_of(question), cut=cut, value=_spelling)
    return read_members(question, once(members))


def _statement(text: str, key: str, *, cut: bool) -> str:
    """The object in a reply, with at most words around it."""
    text = text.encode("utf-8", "replace").decode("utf-8").strip().strip("\ufeff")
    text = without_end_of_turn(text).strip()
    if not text:
        raise Unreadable("empty reply")
    if cut and not (text.startswith("{") and text.endswith("}")):
        raise Unreadable("truncated")
    if not text.startswith("{") or not text.endswith("}") or _CLOSING_LINE.search(text):
        text = _without_thought(text, key).strip()
    if "{" not in text:
        raise Unreadable("no verdict")
    return text


def value_place(question: Question, text: str) -> tuple[str, int]:
    """The place of the verdict's value in a reply that `read` reads.

    Returns:
        The object's end, from the key of the verdict on; and the bytes of it before the value, its
        opening quote included.
    """
    stated = _statement(text, key_of(question), cut=False)
    position = stated.index("{") + 1
    while key := _KEY.search(stated, position):
        value = _VALUE.match(stated, key.end())
        assert value is not None  # of what was read
        if _unquoted(key[1]).lower() == key_of(question):
            shown = stated[key.start() : stated.rindex("}") + 1]
            before = len(stated[key.start() : value.start()].encode())
            return shown, before + (value[1][0] in "\"'")
        position = value.end()
    raise Unreadable("no verdict")


def spellings(question: Question) -> dict[str, float]:
    """The values that a verdict may have, by each way to write them, in small letters."""
    found = {spelt(number): place(grades(question), number) for number, _ in grades(question)}
    words = {w.casefold(): place(grades(question), n) for n, w in grades(question) if w}
    return found | words or {"true": 1.0, "false": 0.0}


def read_members(question: Question, members: Mapping[str, str]) -> tuple[float, str]:
    """The verdict in one flat object; see `read`.

    Args:
        members: its keys, and their values as they are spelt.

    Raises:
        Unreadable: it states no verdict, or says more than one.
    """
    if question.kind != "grade":  # whose reference knows its keys in one spelling
        lowered = {name.lower(): word for name, word in members.items()}
        members = lowered if len(lowered) == len(members) else members
    return _value(question, members), _reason(question.kind, members)


def _value(question: Question, members: Mapping[str, str]) -> float:
    kind, key = question.kind, key_of(question)
    if members.keys() - {key, _REASONS[kind]}:
        raise Unreadable("unknown key")
    if key not in members:
        raise Unreadable("no verdict")
    word = members[key]
    if kind != "grade":  # whose reference takes the two words of JSON and nothing else
        word = _unquoted(word).strip()
    if scale := grades(question):
        return _grade(scale, word, key)
    if kind == "comparison":
        return _better(word)
    verdict = {"true": 1.0, "false": 0.0}.get(word if kind == "grade" else word.lower())
    if verdict is None:
        raise Unreadable(f"{key} is neither true nor false")
    return verdict


def _grade(scale: Grades, word: str, key: str) -> float:
    """The place of a grade that is given by its number, or by its word."""
    # As text: a number of any length is compared, and never made.
    decimal = re.fullmatch(r"(-?[0-9]++)(\.[0-9]{1,9})", word)
    number = decimal[1] + decimal[2].rstrip("0").rstrip(".") if decimal else word
    for value, name in scale:
        if number == spelt(value) or (name and word.casefold() == name.casefold()):
            return place(scale, value)
    if scale == _RATINGS:
        raise Unreadable("rating is no whole number from 1 to 10")
    raise Unreadable(f"{key} is none of the scale")


def _better(word: str) -> float:
    """The first response's share of the win."""
    shares = {name.casefold(): share for name, share in _BETTER.items()}
    shares |= {f"response {name}": shares[name] for name in ("a", "b")}
    if word.casefold() not in shares:
        raise Unreadable("better is none of A, B and tie")
    return shares[word.casefold()]


def _reason(kind: QuestionKind, members: Mapping[str, str]) -> str:
    word = members.get(_REASONS[kind], "null")
    if word.lower() in ("null", "none"):
        return ""
    if word[0] not in "\"'":
        raise Unreadable(f"{_REASONS[kind]} is no text")
    reason = _unquoted(word).strip()
    if re.sub(r"\W+", " ", reason).strip().lower() == EXAMPLE_REASON:
        raise Unreadable("reason is the prompt's example")
    return reason


def the_object(
    text: str, key: str, *, cut: bool, value: Callable[[str, int], tuple[T, int] | None]
) -> list[tuple[str, T]]:
    """The keys and values of the one object that a reply consists of, a wrapper on the white list
    aside.

    Args:
        key: key of a verdict.
        cut: see `read`.
        value: see `pairs`.

    Raises:
        Unreadable: the reply is no such object.
    """
    text = _statement(text, key, cut=cut)
    opening = _OPENING.match(text)
    position = opening.end() if opening else 0
    fence = _FENCE.match(text, position)
    position = fence.end() if fence else position
    if not text.startswith("{", position):
        raise Unreadable("words beside the verdict")
    found, position = pairs(text, position, value)
    if fence:
        fence_end = _FENCE_END.match(text, position)
        if fence_end is None:
            raise Unreadable("words beside the verdict")
        position = fence_end.end()
    rest = text[position:].strip()
    if rest and not _COURTESY.fullmatch(rest):
        raise Unreadable("words beside the verdict")
    return found


def pairs(
    text: str, position: int, value: Callable[[str, int], tuple[T, int] | None]
) -> tuple[list[tuple[str, T]], int]:
    """The keys and values of an object, in order, and where it ends.

    Args:
        position: place of its brace.
        value: reads the value at a position: what it is, and where the next thing stands; None
            where there is none.

    Raises:
        Unreadable: it is no object of such values, or breaks off.
    """
    found: list[tuple[str, T]] = []
    brace = _BRACE.match(text, position)
    position = brace.end() if brace else position
    if text.startswith("}", position):
        return found, position + 1
    while True:
        key = _KEY.match(text, position)
        read = key and value(text, key.end())
        end = read and _NEXT.match(text, read[1])
        if not key or not read or not end:
            raise Unreadable("malformed object" if text.find("}", position) >= 0 else "truncated")
        found.append((_unquoted(key[1]), read[0]))
        position = end.end()
        if end[1] or end[2]:
            return found, position


def flat(text: str, position: int) -> tuple[list[tuple[str, str]], int] | None:
    """The keys of an object without objects in it, and how their values are spelt; as `pairs`
    reads a value."""
    if not text.startswith("{", position):
        return None
    found, position = pairs(text, position, _spelling)
    space = _SPACE.match(text, position)
    return found, space.end() if space else position


def _spelling(text: str, position: int) -> tuple[str, int] | None:
    """A value as it is spelt, and where the next thing stands."""
    found = _VALUE.match(text, position)
    return found and (found[1], found.end())


def once(members: Sequence[tuple[str, str]]) -> dict[str, str]:
    """Members whose keys differ.

    Raises:
        Unreadable: they do not.
    """
    found = dict(members)
    if len(found) < len(members):
        raise Unreadable("repeated key")
    return found


def _unquoted(word: str) -> str:
    """The text of a string of JSON or of Python; any other word as it is.

    Backslashes that begin no escape of JSON, as LaTeX and paths have them, stand for themselves.
    """
    if word[0] not in "\"'":
        return word
    inner = word[1:-1]
    if word[0] == "'":
        inner = _INNER.sub(lambda m: {"\\'": "'", '"': '\\"'}.get(m[0], m[0]), inner)
    inner = _ESCAPE.sub(lambda escape: escape[0] if escape[1] else r"\\", inner)
    decoded: str = json.loads(f'"{inner}"', strict=False)
    return decoded.encode("utf-8", "replace").decode("utf-8")


def _without_thought(text: str, key: str) -> str:
    """The text behind the thoughts at its beginning. Markers anywhere else are left to be
    refused."""
    if sum(1 for _ in _MARKER.finditer(text)) > _MOST_MARKERS:
        raise Unreadable("unclear thought")
    channels = _CHANNEL.findall(text)
    if set(channels) - {"analysis", "final"} or channels.count("final") > 1:
        return text
    parts = _THOUGHTS.split(text)
    if parts.thought and not parts.answer.strip():
        raise Unreadable("no verdict" if _CLOSED.search(text) else "unfinished thought")
    if parts.answer != text:
        return parts.answer
    # Servers whose chat template opens the thought send only its end, at the end of a line.
    end = (_CLOSING_LINE if text.startswith("{") else _CLOSING).search(text)
    if end is None or _TAG.search(text, 0, end.start()):
        return text
    # With a verdict in front of it, the marker may as well be one that the judge quotes.
    if re.search(rf"{key}[\s\"']*:", text[: end.start()], re.IGNORECASE):
        raise Unreadable("unclear thought")
    return text[end.end() :]
