"""Polarities told of rows in the shape of each format. All sentences are invented.

A line of `signs/*.txt`: + or - (meeting it is good or bad), its size or mark, its title, class or
axis, and the sentence. The half whose sentences hash to an odd number was put away while the
reader was written.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from tests.rubrics.rows import ROWS, source

MOST_WRONG = 0.05
MOST_UNCLEAR = 0.15
SIGN = {"+": "positive", "-": "negative"}


def table(name: str) -> list[list[str]]:
    file = Path(__file__).parent / "signs" / f"{name}.txt"
    return [line.split("|") for line in file.read_text(encoding="utf-8").splitlines()]


def is_put_away(text: str) -> bool:
    return hashlib.sha256(text.encode()).digest()[0] % 2 == 1


def told(name: str, lines: list[list[str]], **settings: Any) -> tuple[dict[str, str], str]:
    """The polarity of each line that is kept, by its number, and the report."""
    rows = [ROWS[name](str(n), *line[1:]) for n, line in enumerate(lines)]
    read, report = source(name, **settings).read(rows)
    asked = [row["prompt"] for row in read]
    numbers = [asked_ if isinstance(asked_, str) else asked_[-1]["content"] for asked_ in asked]
    polarities = [row["rubric"][0]["polarity"] for row in read]
    return dict(zip(numbers, polarities, strict=True)), str(report)


@pytest.mark.parametrize("name", ROWS)
def test_a_table_is_large(name: str) -> None:
    assert len(table(name)) >= 40


@pytest.mark.parametrize("half", [True, False], ids=["put away", "seen"])
@pytest.mark.parametrize("name", ROWS)
def test_few_signs_of_a_format_are_told_wrongly(name: str, half: bool) -> None:
    lines = [line for line in table(name) if is_put_away(line[-1]) == half]
    found, report = told(name, lines)
    right = {str(n): SIGN[line[0]] for n, line in enumerate(lines)}
    wrong = [lines[int(n)][-1] for n, polarity in found.items() if polarity != right[n]]
    print(f"{name}: {len(lines)} criteria, {len(lines) - len(found)} unclear, wrong: {wrong}")
    assert len(wrong) <= MOST_WRONG * len(found), wrong
    assert len(lines) - len(found) <= MOST_UNCLEAR * len(lines), report


@pytest.mark.parametrize("name", ROWS)
def test_wording_is_followed_where_it_is_set_to_be(name: str) -> None:
    lines = table(name)
    found, _ = told(name, lines, doubtful="flip")
    wrong = [n for n, polarity in found.items() if polarity != SIGN[lines[int(n)][0]]]
    assert len(found) == len(lines)
    assert len(wrong) <= MOST_WRONG * len(lines)


def test_signs_are_balanced_over_the_formats() -> None:
    signs = Counter(line[0] for name in ROWS for line in table(name))
    assert min(signs.values()) >= 100
