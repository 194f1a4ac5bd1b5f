"""Answers are compared as mathematics."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from rvpo.errors import ConfigError
from rvpo.rewards.mathematics import comparers, solved
from rvpo.rewards.mathematics.comparers import Claim, Comparers
from rvpo.rewards.mathematics.worker import verdict
from rvpo.types import Failed


@pytest.fixture(scope="module", autouse=True)
def workers() -> Iterator[Comparers]:
    workers = comparers(1, 1)  # those that the reward uses with these arguments
    yield workers
    workers.close()


@pytest.mark.parametrize(
    ("right", "answer"),
    [
        ("18", "so it is \\boxed{18}."),
        ("She has 9 + 9 = 18.\n#### 18", "The answer is 18."),
        ("#### 1,234", "It costs $1234."),
        ("\\frac{1}{2}", "$0.5$"),
        ("\\frac12", "\\boxed{\\frac{1}{2}}"),
        ("50\\%", "\\boxed{0.5}"),
        ("We get $x = 3$, so \\boxed{3}.", "\\boxed{3.0}"),
        ("x^2+2x+1", "$(x+1)^2$"),
        ("\\{1,2\\}", "\\boxed{\\{2,1\\}}"),
        ("(0,1)", "\\boxed{(0,1)}"),
        ("5", "\\boxed{x=5}"),
        ("10 \\text{ cm}", "\\boxed{10}"),
        ("\\text{even}", "\\boxed{even}"),
        ("C", "The answer is C."),
        ("2", "First \\boxed{1}, no: \\boxed{2}"),
        ("12", "it is 12 \\boxed{"),
    ],
)
def test_answers_that_mean_the_same_are_right(right: str, answer: str) -> None:
    assert verdict(right, answer, boxed=False) is True


@pytest.mark.parametrize(
    ("right", "answer"),
    [
        ("3", "no idea"),
        ("3", ""),
        ("C", "\\boxed{A}"),
        ("2", "\\boxed{1, 2, 3}"),
        ("2", "\\boxed{1 \\text{ or } 2}"),
        ("1", "\\boxed{1} or \\boxed{2}"),
        ("(0,1)", "\\boxed{[0,1]}"),
        ("42", "__import__('os').system('true')"),
    ],
)
def test_answers_that_mean_something_else_are_wrong(right: str, answer: str) -> None:
    assert verdict(right, answer, boxed=False) is False


def test_an_answer_outside_of_a_box_does_not_count_where_boxes_are_wanted() -> None:
    assert verdict("18", "The answer is 18.", boxed=True) is False
    assert verdict("18", "The answer is \\boxed{18}.", boxed=True) is True


def test_a_right_answer_that_cannot_be_read_gives_no_verdict() -> None:
    assert verdict("#### ", "1", boxed=False) == "the right answer '' cannot be read"


def test_what_takes_too_long_gives_no_verdict_and_holds_nothing_up(workers: Comparers) -> None:
    hard = Claim("7", "\\boxed{9^{9^{9^{9^9}}}}", False)
    easy = Claim("7", "\\boxed{7}", False)
    first, second = workers.ask([hard, easy])
    assert isinstance(first, str)
    assert "more than 1 s of computing" in first
    assert second is True


def test_a_worker_that_ended_is_started_again(workers: Comparers) -> None:
    question = Claim("7", "\\boxed{7}", False)
    workers.close()
    assert workers.ask([question, question]) == [True, True]


def test_rows_without_a_right_answer_have_no_score() -> None:
    rights: list[Any] = [None, "", 3, "3"]
    texts = [[{"role": "assistant", "content": "\\boxed{3}"}]] * 4
    assert solved(texts, answer=rights, workers=1, seconds=1) == [None, None, 1.0, 1.0]


def test_the_right_answer_can_lie_deeper() -> None:
    cells = ['{"ground_truth": "3"}', {"ground_truth": "4"}]
    scores = solved(
        ["3", "3"], column="reward_model.ground_truth", reward_model=cells, workers=1, seconds=1
    )
    assert scores == [1.0, 0.0]


def test_a_right_answer_that_cannot_be_read_is_a_missing_score() -> None:
    (score,) = solved(["3"], answer=["####"], workers=1, seconds=1)
    assert isinstance(score, Failed)


def test_a_column_that_is_not_there_is_named() -> None:
    with pytest.raises(ConfigError, match="no column 'answer', but solution; name one"):
        solved(["3"], solution=["3"])
