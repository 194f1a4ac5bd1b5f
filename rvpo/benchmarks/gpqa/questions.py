"""Rows of a GPQA file as multiple-choice questions."""

from __future__ import annotations

import hashlib
import random
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from rvpo.errors import DataError
from rvpo.files.csv_file import read_csv

_OPTIONS: Final = ("Correct Answer", *(f"Incorrect Answer {n}" for n in (1, 2, 3)))
_NEEDED: Final = ("Question", *_OPTIONS)


@dataclass(frozen=True, slots=True, kw_only=True)
class GpqaQuestion:
    """A question with its options; the first is the right one."""

    id: str
    text: str
    options: tuple[str, str, str, str]
    domain: str
    canary: str


def read_questions(path: str) -> list[GpqaQuestion]:
    """The questions of a CSV file with GPQA's columns, texts exactly as they are there.

    Raises:
        DataError: the file cannot be read, or a row has no question or option.
    """
    where = f"benchmarks.gpqa.path: '{path}'"
    try:
        rows = list(read_csv(Path(path).expanduser(), where, {}))
    except DataError as error:
        raise DataError(
            f"{error}; give gpqa_diamond.csv, which its authors hand out at "
            "huggingface.co/datasets/Idavidrein/gpqa"
        ) from error
    if not rows:
        raise DataError(f"{where} has no rows")
    missing = [column for column in _NEEDED if column not in rows[0]]
    if missing:
        raise DataError(f"{where} has no column '{missing[0]}'; it needs {', '.join(_NEEDED)}")
    questions = []
    for number, row in enumerate(rows, start=1):
        empty = [column for column in _NEEDED if not row[column].strip()]
        if empty:
            raise DataError(f"{where}, row {number}: '{empty[0]}' is empty")
        right, *wrong = (row[column] for column in _OPTIONS)
        questions.append(
            GpqaQuestion(
                id=row.get("Record ID")
                or hashlib.sha256(row["Question"].encode()).hexdigest()[:16],
                text=row["Question"],
                options=(right, wrong[0], wrong[1], wrong[2]),
                domain=row.get("High-level domain") or "",
                canary=row.get("Canary String") or "",
            )
        )
    _check_ids(questions, where)
    return questions


def order(seed: int, question: str, repeat: int) -> tuple[int, ...]:
    """The option at each place, the right one being 0.

    It depends on seed, question and repeat alone: not on the other questions, nor on their order.
    """
    return tuple(random.Random(f"{seed}/{question}/{repeat}").sample(range(4), 4))


def _check_ids(questions: Sequence[GpqaQuestion], where: str) -> None:
    seen: set[str] = set()
    for question in questions:
        if question.id in seen:
            raise DataError(f"{where}: there are two questions with the Record ID {question.id!r}")
        seen.add(question.id)
