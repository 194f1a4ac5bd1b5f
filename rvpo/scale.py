"""The grades of a scale: numbers, with a word each or alone."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from typing import Any, Final

Grades = tuple[tuple[float, str], ...]
"""(number, word) of each grade, from the lowest to the highest; a word is empty where none was
given. No grades at all: something is true or not."""

MOST_GRADES: Final = 20

_NUMBER: Final = re.compile(r"-?[0-9]{1,6}(\.[0-9]{1,6})?")
_LONGEST_WORD: Final = 200  # characters: a short sentence will do
_AROUND: Final = " \t\r\n\"':"  # what may stand before a grade in a reply


def scale_of(value: Any) -> Grades:
    """The scale that settings or data give.

    Args:
        value: a table of numbers and words, a list of numbers, or of pairs of both; None or
            nothing for no scale. Keys may be numbers in quotes, as JSON has them.

    Raises:
        ValueError: it is no scale.
    """
    if value is None:
        return ()
    if isinstance(value, Mapping):
        pairs = list(value.items())
    elif isinstance(value, Sequence) and not isinstance(value, str):
        pairs = [_pair(item) for item in value]
    else:
        raise ValueError(
            "a scale is a table of numbers and words, such as {0: missing, 1: partly, 2: fully}, "
            f"or a list of numbers, such as [0, 1, 2], got {value!r:.80}"
        )
    scale = tuple(sorted((_number(number), _word(word)) for number, word in pairs))
    if not scale:
        return ()
    numbers, words = [number for number, _ in scale], [word for _, word in scale]
    if not 2 <= len(scale) <= MOST_GRADES:
        raise ValueError(f"a scale has 2 to {MOST_GRADES} grades, got {len(scale)}")
    if len(set(numbers)) < len(numbers):
        raise ValueError(
            f"the numbers of a scale must differ, got {', '.join(map(spelt, numbers))}"
        )
    if any(words) and len({word.casefold() for word in words} - {""}) < len(words):
        raise ValueError(
            f"a scale has a word of its own for each grade, or none at all, got {words!r:.200}"
        )
    return scale


def spelt(number: float) -> str:
    """A grade's number as it is written: 2 and 0.5."""
    return str(int(number)) if number == int(number) else f"{number:.6f}".rstrip("0")


def place(scale: Grades, number: float) -> float:
    """The number's place between the lowest (0) and the highest grade (1)."""
    lowest, highest = scale[0][0], scale[-1][0]
    return (number - lowest) / (highest - lowest)


def said(scale: Grades, value: float) -> str:
    """A place on a scale as reports show it: "1 of 0 to 2 (partly)", or "1.3 of 0 to 2" between
    grades."""
    lowest, highest = scale[0][0], scale[-1][0]
    for number, word in scale:
        if math.isclose(place(scale, number), value, abs_tol=1e-9):
            shown = f"{spelt(number)} of {spelt(lowest)} to {spelt(highest)}"
            return f"{shown} ({word})" if word else shown
    between = round(lowest + value * (highest - lowest), 2)
    return f"{between:g} of {spelt(lowest)} to {spelt(highest)}"


def opening(text: str) -> str:
    """A spelling of a grade from its first telling character on, in small letters: quotes, colons
    and white space may stand before any of them."""
    return text.lstrip(_AROUND).casefold()


def alike(scale: Grades) -> str:
    """Problem of grades that begin with the same character, by number or by word; empty where they
    can be told apart."""
    first: dict[str, tuple[float, str]] = {}
    for number, word in scale:
        for text, shown in ((spelt(number), spelt(number)), (word, f"{word!r:.80}")):
            if not (begins := opening(text)[:1]):
                continue
            other, before = first.setdefault(begins, (number, shown))
            if other != number:
                return (
                    "grade: probability tells grades apart by the first character of their numbers "
                    f"and words, and {before} and {shown} begin alike; give figures from 0 to 9, "
                    "with words that begin differently or none, or write grade: verdict"
                )
    return ""


def plain(scale: Grades) -> dict[float, str] | list[float]:
    """The scale as settings write it; `scale_of` reads it back."""
    words = any(word for _, word in scale)
    numbers: list[float] = [int(n) if n == int(n) else n for n, _ in scale]
    return dict(zip(numbers, (w for _, w in scale), strict=True)) if words else numbers


def _pair(item: Any) -> tuple[Any, Any]:
    if isinstance(item, Sequence) and not isinstance(item, str):
        number, word = item if len(item) == 2 else (item, "")
        return number, word
    return item, ""


def _number(value: Any) -> float:
    text = spelt(value) if type(value) in (int, float) and abs(value) < 1e6 else value
    if not isinstance(text, str) or not _NUMBER.fullmatch(text):
        raise ValueError(
            "a grade is a number below a million with up to six places, such as 1 or 0.5, got "
            f"{value!r:.80}"
        )
    return float(text)


def _word(value: Any) -> str:
    word = value.strip() if isinstance(value, str) else None
    if word is None or len(word) > _LONGEST_WORD or len(word.splitlines()) > 1:
        raise ValueError(
            f"the word of a grade is a line of up to {_LONGEST_WORD} characters, in quotes where "
            f"YAML reads something else, got {value!r:.80}"
        )
    if _NUMBER.fullmatch(word):
        raise ValueError(f"the word of a grade cannot be a number itself, got {word!r}")
    return word
