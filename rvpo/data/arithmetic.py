"""Arithmetic word problems made on the spot, small enough for a 135M model to learn from."""

from __future__ import annotations

import hashlib
import random
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any, Literal, get_args

Split = Literal["train", "held_out"]


@dataclass(frozen=True, slots=True)
class _Template:
    question: str
    answer: Callable[[int, int, int], int]
    largest: int
    """The numbers a, b and c lie between 2 and this."""


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
_SYSTEM = {"role": "system", "content": "Use at most 14 words. Last line: Answer: <n>"}
# Without a worked example the demo model hardly ever writes the answer line: a reward that is 0 in
# nearly every group teaches nothing.
_EXAMPLE = (
    {"role": "user", "content": "Ann has 5 keys and finds 3 more. How many keys?"},
    {"role": "assistant", "content": "5 + 3 = 8 keys.\nAnswer: 8"},
)
_MOST_ROWS = 10_000


def problems(count: int, seed: int, part: Split = "train") -> list[dict[str, Any]]:
    """Word problems of one or two steps with whole positive answers.

    No text occurs twice in a list. The parts are disjoint whatever the seeds: which part a
    problem belongs to follows from its kind and its numbers, so that held-out sums are never
    trained on under another name either.

    Args:
        count: number of problems, from 1 to 10,000.
        seed: decides the choice and the order.
        part: a quarter of all sums is `held_out`, the others are `train`.

    Returns:
        Rows `{"id": str, "prompt": [chat messages], "answer": int}`; the chat holds a system
        message, a worked example and the question.

    Raises:
        ValueError: `count` or `part` is not one of these.
    """
    if not 1 <= count <= _MOST_ROWS:
        raise ValueError(f"count must be from 1 to {_MOST_ROWS}, got {count}")
    if part not in get_args(Split):
        raise ValueError(f"part must be one of {', '.join(get_args(Split))}, got {part!r}")
    chance = random.Random(seed)
    answers: dict[str, int] = {}  # by question
    while len(answers) < count:
        template = chance.choice(_TEMPLATES)
        a, b, c = (chance.randint(2, template.largest) for _ in range(3))
        answer = template.answer(a, b, c)
        fill = partial(template.question.format, a=a, b=b, c=c)
        if answer > 0 and _part(fill(name="", thing="")) == part:
            answers[fill(name=chance.choice(_NAMES), thing=chance.choice(_THINGS))] = answer
    return [
        {
            "id": f"{part}/{index}",
            "prompt": [_SYSTEM, *_EXAMPLE, {"role": "user", "content": question}],
            "answer": answer,
        }
        for index, (question, answer) in enumerate(answers.items())
    ]


def _part(problem: str) -> Split:
    digest = hashlib.sha256(problem.encode()).digest()
    return "held_out" if digest[0] % 4 == 0 else "train"
