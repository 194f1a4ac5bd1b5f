"""A sentence and its negation are one criterion, asked twice."""

from __future__ import annotations

import pytest

from rvpo.criterion import Criterion
from rvpo.rubrics.mirror import mirrored


def pairs(*texts: str) -> int:
    return mirrored([Criterion(text=text) for text in texts])


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("Mentions the dose.", "Does not mention the dose."),
        ("The response should mention the dose.", "The response fails to mention the dose"),
        ("Mentioning the dose", "It doesn't mention the dose; Mentions the dose"),
        ("The response is rude.", "The response is not rude."),
        ("The answer is rude.", "The answer isn\u2019t rude."),
        ("Claims a cure.", "Avoids claiming a cure."),
    ],
)
def test_sentence_and_its_negation_are_a_pair(one: str, other: str) -> None:
    assert pairs(one, *other.split("; ")) == pairs(*other.split("; "), one) == 1


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("Mentions the dose.", "Does not mention the date."),
        ("Does not mention the dose.", "Fails to mention the dose."),
        ("Mentions the dose.", "Does not fail to mention the dose."),
        ("Mentions the dose.", "Mentions the dose and does not mention the date."),
    ],
)
def test_other_sentences_are_none(one: str, other: str) -> None:
    assert pairs(one, other) == 0
