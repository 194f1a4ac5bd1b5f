"""pass@k, maj@k and all_satisfied@k are what every way to draw k of n samples gives on average."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Sequence
from fractions import Fraction
from itertools import combinations
from statistics import fmean
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rvpo.report.at_k import NO_K, AtK, majority_at_k, pass_at_k
from rvpo.types import Rewards, RolloutScores
from tests.fakes import make_scores, with_columns

SAMPLES = st.lists(st.tuples(st.sampled_from(["a", "b", "c", None]), st.booleans()), min_size=1)
FEW = SAMPLES.filter(lambda found: len(found) <= 8)


def enumerated(count: int, k: int, value: Callable[[Sequence[int]], float]) -> float:
    """Mean of what each subset of k of so many places has."""
    return fmean(value(places) for places in combinations(range(count), k))


def vote(answers: Sequence[str | None], good: Sequence[bool]) -> float:
    """Chance that one of the winners' samples is good, with each winner as likely as the others."""
    votes = Counter(answer for answer in answers if answer is not None)
    most = max(votes.values(), default=0)
    winners = [answer for answer, count in votes.items() if count == most]
    shares = [
        fmean(g for a, g in zip(answers, good, strict=True) if a == winner) for winner in winners
    ]
    return fmean(shares) if shares else 0.0


@settings(deadline=None, max_examples=60)
@given(good=st.lists(st.booleans(), min_size=1, max_size=9), data=st.data())
def test_pass_at_k_is_the_mean_over_all_subsets(good: list[bool], data: st.DataObject) -> None:
    k = data.draw(st.integers(1, len(good)))
    expected = enumerated(len(good), k, lambda places: float(any(good[n] for n in places)))
    assert pass_at_k(len(good), sum(good), k) == pytest.approx(expected, abs=1e-12)


@settings(deadline=None, max_examples=60)
@given(samples=FEW, data=st.data())
def test_maj_at_k_is_the_mean_over_all_subsets(
    samples: list[tuple[str | None, bool]], data: st.DataObject
) -> None:
    k = data.draw(st.integers(1, len(samples)))
    answers, good = zip(*samples, strict=True)
    expected = enumerated(
        len(samples),
        k,
        lambda places: vote([answers[n] for n in places], [good[n] for n in places]),
    )
    assert majority_at_k(answers, good, k) == pytest.approx(expected, abs=1e-12)


@settings(deadline=None, max_examples=30)
@given(
    cells=st.lists(
        st.lists(st.sampled_from([0.0, 0.5, 1.0]), min_size=2, max_size=2), min_size=4, max_size=7
    ),
    data=st.data(),
)
def test_all_satisfied_at_k_is_the_mean_over_all_subsets(
    cells: list[list[float]], data: st.DataObject
) -> None:
    k = data.draw(st.integers(1, len(cells)))
    scored = make_scores(cells, group_size=len(cells))
    rule = AtK(at=(k,), joint=("correct", "brief"), satisfied={"brief": 0.5})
    found = rule.of(scored, ["a"] * len(cells))
    satisfied = [first >= 1 and second >= 0.5 for first, second in cells]
    expected = enumerated(len(cells), k, lambda places: float(any(satisfied[n] for n in places)))
    assert found[f"eval/all_satisfied@{k}"].tolist() == pytest.approx([expected], abs=1e-12)


def test_it_is_exact_where_products_of_floats_would_overflow() -> None:
    assert pass_at_k(5_000, 1, 2_500) == 0.5
    assert pass_at_k(5_000, 0, 2_500) == 0
    assert pass_at_k(10**6, 1, 1) == 1e-6
    answers = ["a", "b"] * 30
    assert majority_at_k(answers, [answer == "a" for answer in answers], 31) == 0.5


@pytest.mark.parametrize("k", [1, 2, 31, 500])
def test_a_thousand_samples_are_counted_as_exactly_as_few(k: int) -> None:
    """Two answers have a closed form: that of k drawn from an urn; and so have a thousand."""
    ayes, noes = 437, 563
    answers = ["a"] * ayes + ["b"] * noes
    chance = [math.comb(ayes, a) * math.comb(noes, k - a) for a in range(k + 1)]
    won = sum(chance[k // 2 + 1 :]) + (Fraction(chance[k // 2], 2) if k % 2 == 0 else 0)
    expected = float(Fraction(won) / math.comb(1_000, k))
    found = majority_at_k(answers, [answer == "a" for answer in answers], k)
    assert found == pytest.approx(expected, rel=1e-12)
    apart = majority_at_k(range(1_000), [each < ayes for each in range(1_000)], k)
    assert apart == pytest.approx(0.437, rel=1e-12)


def test_counts_beyond_the_range_of_floats_are_whole_numbers() -> None:
    good = [each < 5_000 for each in range(20_000)]
    assert majority_at_k([int(each) for each in good], good, 1) == 0.25


def test_more_samples_than_k_never_change_what_is_estimated() -> None:
    """The mean over draws of n samples is the same for each n: with replacement, 1 - (1 - p)^k."""
    for n in (3, 4, 6):
        mean = sum(
            math.comb(n, c) * 0.3**c * 0.7 ** (n - c) * pass_at_k(n, c, 3) for c in range(n + 1)
        )
        assert mean == pytest.approx(1 - 0.7**3)


def test_one_answer_is_as_good_as_the_mean_and_a_vote_of_one_decides_nothing() -> None:
    assert pass_at_k(4, 3, 1) == 0.75
    assert majority_at_k(["a", "b", "b", "c"], [True, True, True, False], 1) == 0.75


def test_the_answer_of_most_wins_and_a_tie_is_shared() -> None:
    assert majority_at_k(["a", "a", "b"], [True, True, False], 3) == 1
    assert majority_at_k(["a", "a", "b", "b"], [True, True, False, False], 4) == 0.5
    assert majority_at_k([None, None, None, "b"], [True, True, True, False], 4) == 0
    assert majority_at_k([None, None], [True, True], 2) == 0


@pytest.mark.parametrize(("answers", "passed", "k"), [(3, 1, 4), (3, 1, 0), (3, 4, 1), (3, -1, 1)])
def test_what_is_not_defined_is_refused(answers: int, passed: int, k: int) -> None:
    with pytest.raises(ValueError, match="not defined"):
        pass_at_k(answers, passed, k)


def at(scored: RolloutScores, *k: int, **rule: Any) -> dict[str, list[float]]:
    known = AtK(**{"at": k, "joint": ("correct", "brief")} | rule)
    answers = ["x"] * len(scored.rewards.values)
    found = known.of(scored, answers)
    return {name.removeprefix("eval/"): values.tolist() for name, values in found.items()}


def test_each_prompt_has_a_number_for_each_reward_and_for_all() -> None:
    scored = make_scores([[1, 0], [0, 1], [1, 1], [0, 0]])
    found = at(scored, 1, 2)
    assert found["pass@1/correct"] == [0.5, 0.5]
    assert found["pass@2/brief"] == [1, 1]
    assert found["maj@2/correct"] == [0.5, 0.5]  # one answer, and one of its samples is taken
    assert found["all_satisfied@2"] == [0, 1]
    assert found["all_satisfied@1"] == [0, 0.5]
    assert set(found) == {
        *(
            f"{form}@{k}/{n}"
            for form in ("pass", "maj")
            for k in (1, 2)
            for n in ("correct", "brief")
        ),
        *("all_satisfied@1", "all_satisfied@2"),
    }


def test_a_lost_verdict_leaves_its_sample_out_and_never_counts_as_bad() -> None:
    scored = make_scores(
        [[1, 1], [None, 1], [0, 1], [None, 0]], failures={(1, 0): "timeout", (3, 0): "timeout"}
    )
    found = at(scored, 1, 2)
    assert found["pass@1/correct"] == [1, 0]
    assert np.isnan(found["pass@2/correct"]).all()
    assert found["all_satisfied@1"] == [1, 0]
    # The second prompt's fourth sample is not brief, so that the lost verdict cannot matter.
    assert np.isnan(found["all_satisfied@2"][0])
    assert found["all_satisfied@2"][1] == 0


def test_what_does_not_apply_is_left_out_of_a_reward_and_of_all_rewards() -> None:
    scored = make_scores([[1, None], [1, 0], [None, None], [None, 1]])
    found = at(scored, 1)
    assert found["pass@1/correct"][0] == 1
    assert np.isnan(found["pass@1/correct"][1])
    assert found["all_satisfied@1"] == [0.5, 1]


def test_a_rubric_is_satisfied_by_all_of_its_criteria() -> None:
    rewards = make_scores([[1, 1], [1, 0]], names=("judged/kind", "judged/brief")).rewards
    columns = rewards.columns
    both = columns["judged/kind"] | columns["judged/brief"]
    scored = RolloutScores(rewards=rewards, aspects={"judged": both, **columns})
    found = at(scored, 1, joint=("judged",))
    assert found["pass@1/judged"] == [0.5]
    assert found["pass@1/judged/kind"] == [1]
    assert found["all_satisfied@1"] == [0.5]


def test_a_threshold_is_that_of_the_part_or_of_what_it_is_part_of() -> None:
    rule = AtK(at=(1,), joint=(), satisfied={"judged": 0.5, "judged/kind": 0.25})
    names = ("judged", "judged/kind", "judged/brief", "other")
    assert [rule.threshold(name) for name in names] == [0.5, 0.25, 0.5, 1]


@settings(deadline=None, max_examples=40)
@given(st.floats(-5, 5, width=16).map(lambda value: round(value, 3)))
def test_a_score_at_its_threshold_satisfies_it_whatever_32_bits_make_of_it(value: float) -> None:
    scored = make_scores([[value, 1], [value - 0.01, 1]])
    found = at(scored, 1, satisfied={"correct": value})
    assert found["pass@1/correct"] == [0.5]


def test_nothing_is_counted_where_nothing_is_wanted() -> None:
    assert NO_K.of(make_scores([[1, 1]] * 2), ["a"] * 2) == {}
    assert at(
        with_columns(Rewards(make_scores([[1, 1]] * 2).rewards.values, ["a", "b"], 2)), 1, joint=()
    )
