"""Intervals of benchmark scores."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from rvpo.benchmarks.statistics import mean_interval


@pytest.mark.parametrize("questions", [2, 12, 198])
@pytest.mark.parametrize("value", [0.0, 1.0])
def test_what_never_varied_is_not_certain(questions: int, value: float) -> None:
    """The exact interval of no success, or of nothing else, in so many questions."""
    found = mean_interval(
        [value] * questions * 4, [f"q{n % questions}" for n in range(questions * 4)]
    )
    exact = stats.binomtest(int(value) * questions, questions).proportion_ci(method="exact")
    assert found == pytest.approx((exact.low, exact.high))


def test_what_has_no_bounds_and_never_varied_has_no_interval() -> None:
    assert mean_interval([1.0] * 8, list("abcdefgh"), clip=True) is None
    assert mean_interval([0.4] * 8, list("abcdefgh")) is None


def test_one_question_has_no_interval() -> None:
    assert mean_interval([0.0, 1.0], ["q", "q"]) is None


def test_the_interval_of_rates_holds_the_truth_about_as_often_as_it_says() -> None:
    """Questions of different difficulty, four answers each."""
    chance = np.random.default_rng(7)
    names = [f"q{n // 4}" for n in range(240)]
    held = 0
    for _ in range(200):
        difficulty = chance.beta(0.5, 0.7, size=60).repeat(4)
        answers = (chance.random(240) < difficulty).astype(float)
        found = mean_interval(answers.tolist(), names)
        assert found is not None
        held += found[0] <= 0.5 / 1.2 <= found[1]
    assert 0.88 <= held / 200 <= 0.99
