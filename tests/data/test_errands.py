"""Questions that need one call of a tool."""

from __future__ import annotations

import re

import pytest

from rvpo.data.errands import calculator, errands, look_up
from rvpo.types import is_message


def test_every_question_is_answered_by_the_tool_that_it_needs() -> None:
    for row in errands(200, seed=1):
        question = row["prompt"][-1]["content"]
        if found := re.fullmatch(r"(\d+) \* (\d+) = \?", question):
            told = calculator(f"{found[1]} * {found[2]}")
        else:
            told = look_up(question.removeprefix("Price of a ").removesuffix("?"))
        assert told == str(row["answer"])


def test_parts_share_no_question_whatever_their_seeds() -> None:
    asked = {
        part: {row["prompt"][-1]["content"] for seed in (1, 2) for row in errands(200, seed, part)}
        for part in ("train", "held_out")
    }
    assert not asked["train"] & asked["held_out"]


def test_both_kinds_are_held_out() -> None:
    asked = [row["prompt"][-1]["content"] for row in errands(48, 2, "held_out")]
    assert len(set(asked)) == 48
    assert sum("*" in each for each in asked) == 24


def test_rows_are_conversations_with_ids_of_their_own() -> None:
    rows = errands(50, seed=3)
    assert len({row["id"] for row in rows}) == 50
    assert all(is_message(message) for row in rows for message in row["prompt"])
    assert errands(50, seed=3) == rows


@pytest.mark.parametrize(("count", "part"), [(0, "train"), (9_999, "train"), (5, "test")])
def test_what_cannot_be_made_is_refused(count: int, part: str) -> None:
    with pytest.raises(ValueError, match="must be"):
        errands(count, 1, part)  # type: ignore[arg-type]


@pytest.mark.parametrize("expression", ["", "12", "12 + 3", "a * b", "1 * 2 * 3"])
def test_a_call_that_is_no_product_fails(expression: str) -> None:
    with pytest.raises(ValueError, match=r".+"):
        calculator(expression)


def test_what_is_not_for_sale_fails() -> None:
    with pytest.raises(LookupError, match="no price of 'moon'"):
        look_up("moon")
