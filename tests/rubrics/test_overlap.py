"""Questions that occur twice."""

from __future__ import annotations

from typing import Any

import pytest

from rvpo.rubrics.overlap import normalized, question, without_overlap


def rows(*prompts: Any) -> list[dict[str, Any]]:
    return [{"id": str(number), "prompt": prompt} for number, prompt in enumerate(prompts)]


@pytest.mark.parametrize(
    "copy",
    [
        "What is heat?",
        "what is HEAT",
        "  What\n is\theat ??",
        '"What is heat?"',
        "What is heat\uff1f",
    ],
)
def test_copies_of_a_question_are_the_same_question(copy: str) -> None:
    assert normalized(copy) == normalized("What is heat?")


@pytest.mark.parametrize("other", ["What is heat loss?", "What is-heat?", "What is h3at?", ""])
def test_other_questions_are_not(other: str) -> None:
    assert normalized(other) != normalized("What is heat?")


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("The charge is 2\N{MINUS SIGN}", "The charge is 2+"),
        ("The result is n!", "The result is n"),
        ("x\u00b2", "x2"),
        ("10\u00b3", "103"),
        ("Ca2+", "Ca2"),
        ("2+2=4?", "-2+2=4?"),
        (".5 mol", "5 mol"),
        ("f'", "f"),
    ],
)
def test_signs_that_change_the_meaning_stay(one: str, other: str) -> None:
    assert normalized(one) != normalized(other)


def test_ways_to_compose_a_letter_do_not_matter() -> None:
    assert normalized("caf\u00e9") == normalized("cafe\u0301")


def test_text_of_punctuation_alone_is_not_emptied() -> None:
    assert normalized("!!") != normalized("??")


def test_text_is_the_same_question_as_one_user_message() -> None:
    messages = [{"role": "system", "content": "Be kind."}, {"role": "user", "content": "Hello."}]
    assert question(messages) == question("hello")


def test_conversations_differ_where_any_turn_differs() -> None:
    first, second = ([{"role": "user", "content": text}, {"role": "user", "content": "Why?"}]
                     for text in ("It rains.", "It snows."))  # fmt: skip
    assert question(first) != question(second)


def test_training_loses_what_held_out_rows_ask() -> None:
    training = rows("What is heat?", "What is light?", "what is LIGHT", "What is sound?")
    kept, removed = without_overlap(training, rows("What is light", "What is mass?"))
    assert kept == [training[0], training[3]]
    assert removed == 2


def test_without_held_out_rows_nothing_is_removed() -> None:
    training = rows("What is heat?", "What is heat?")
    assert without_overlap(training, []) == (training, 0)
