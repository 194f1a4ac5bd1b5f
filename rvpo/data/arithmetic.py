"""Arithmetic word problems made on the spot, small enough for a 135M model to learn from."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

Part = Literal["train", "held_out"]


@dataclass(frozen=True, slots=True)
class _Template:
    question: str
    answer: Callable[[int, int, int], int]
    largest: int
    """Of the numbers a, b and c; products get smaller ones, so that answers stay below 100."""


_TEMPLATES = (
    _Template(
        "{name} has {a} {thing} and finds {b} more. How many {thing}?", lambda a, b, c: a + b, 12
    ),
    _Template(
        "{name} has {a} {thing} and loses {b}. How many {thing} are left?",
        lambda a, b, c: a - b,
        12,
    ),
    _Template("{name} has {a} bags of {b} {thing}. How many {thing}?", lambda a, b, c: a * b, 6),
    _Template(
        "{name} has {a} {thing}, finds {b} and loses {c}. How many {thing}?",
        lambda a, b, c: a + b - c,
        8,
    ),
    _Template(
        "{name} has {a} bags of {b} {thing} and finds {c} more. How many {thing}?",
        lambda a, b, c: a * b + c,
        5,
    ),
    _Template(
        "{name} has {a} bags of {b} {thing} and loses {c}. How many {thing}?",
        lambda a, b, c: a * b - c,
        5,
    ),
)
_NAMES = (
    *("Ada", "Ben", "Cleo", "Dan", "Eve", "Finn", "Gina", "Hugo", "Iris", "Jack"),
    *("Kate", "Leo", "Mia", "Noah", "Olga", "Paul", "Rosa", "Sam", "Tina", "Will"),
)
_THINGS = (
    *("apples", "pears", "plums", "figs", "nuts", "eggs", "shells", "stones", "beads", "pens"),
    *("books", "cards", "coins", "stamps", "toys", "cups", "roses", "buttons", "candles", "maps"),
)
_INSTRUCTION = "Use at most 14 words. Last line: Answer: <number>"
_EXAMPLE = (
    {"role": "user", "content": "Ann has 2 boxes of 4 keys and loses 3. How many keys?"},
    {"role": "assistant", "content": "2 * 4 = 8, 8 - 3 = 5\nAnswer: 5"},
)
