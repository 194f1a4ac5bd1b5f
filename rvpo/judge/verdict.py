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
from collections.abc import Mapping
from typing import Any

from rvpo.judge.prompt import EXAMPLE_REASON
from rvpo.judge.reply_object import (
    KEY,
    VALUE,
    Unreadable,
    once,
    spelling,
    statement,
    the_object,
    unquoted,
)
from rvpo.judge.types import Question, QuestionKind
from rvpo.scale import Grades, place, said, spelt

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
    members = the_object(text, key_of(question), cut=cut, value=spelling)
    return read_members(question, once(members))


def value_place(question: Question, text: str) -> tuple[str, int]:
    """The place of the verdict's value in a reply that `read` reads.

    Returns:
        The object's end, from the key of the verdict on; and the bytes of it before the value, its
        opening quote included.
    """
    stated = statement(text, key_of(question), cut=False)
    position = stated.index("{") + 1
    while key := KEY.search(stated, position):
        value = VALUE.match(stated, key.end())
        assert value is not None  # of what was read
        if unquoted(key[1]).lower() == key_of(question):
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
        word = unquoted(word).strip()
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
    reason = unquoted(word).strip()
    if re.sub(r"\W+", " ", reason).strip().lower() == EXAMPLE_REASON:
        raise Unreadable("reason is the prompt's example")
    return reason
