from __future__ import annotations

import math
import statistics

import pytest
import torch
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from rvpo.advantage import GDPO

from .matrices import matrix, rows

Rows = tuple[list[list[float | None]], int]
WEIGHTS = [1.0, 0.5, 2.0, 0.25]


def loop(values: list[list[float | None]], group_size: int, weights: list[float]) -> list[float]:
    """TRL's normalize_then_sum, a sample at a time."""
    sums: list[float | None] = []
    for i, row in enumerate(values):
        start = i // group_size * group_size
        total = 0.0
        for j, (weight, score) in enumerate(zip(weights, row, strict=True)):
            known = [v for r in values[start : start + group_size] if (v := r[j]) is not None]
            if score is not None and len(known) > 1:
                spread = statistics.stdev(known) + 1e-4
                total += weight * (score - statistics.fmean(known)) / spread
        sums.append(None if all(r is None for r in row) else total)
    known = [s for s in sums if s is not None]
    if len(known) < 2:
        return [0.0] * len(sums)
    mean, spread = statistics.fmean(known), statistics.stdev(known) + 1e-4
    return [0.0 if s is None else (s - mean) / spread for s in sums]


def has_incomparable_row(values: list[list[float | None]], group_size: int) -> bool:
    """Some row's scores are each the only one of their reward in the group."""
    for i, row in enumerate(values):
        start = i // group_size * group_size
        group = values[start : start + group_size]
        known = [sum(r[j] is not None for r in group) for j in range(len(row))]
        counts = [n for n, r in zip(known, row, strict=True) if r is not None]
        if counts and max(counts) == 1:
            return True
    return False


@given(rows(missing=True))
def test_equals_trl_with_missing_scores(case: Rows) -> None:
    values, group_size = case
    assume(not has_incomparable_row(values, group_size))
    weights = WEIGHTS[: len(values[0])]
    advantages = GDPO()(matrix(values, group_size, weights)).values
    expected = torch.tensor(loop(values, group_size, weights), dtype=torch.double)
    torch.testing.assert_close(advantages, expected, rtol=1e-6, atol=1e-6)


def test_row_that_nothing_compares_with_is_not_an_average_one() -> None:
    # TRL whitens such a row along as a sum of 0; here it is unknown, and left out.
    values = [[None, 5.0], [1.0, None], [3.0, None]]
    advantages = GDPO()(matrix(values, 3))
    assert advantages.trained.tolist() == [False, True, True]
    alone = GDPO()(matrix([[1.0], [3.0]], 2)).values
    torch.testing.assert_close(advantages.values[1:], alone)


def test_row_with_weightless_scores_alone_is_not_an_average_one() -> None:
    values = [[None, 5.0], [1.0, 4.0], [3.0, 6.0]]
    advantages = GDPO()(matrix(values, 3, [1.0, 0.0]))
    assert advantages.trained.tolist() == [False, True, True]


def test_paper_example_tells_one_success_from_two() -> None:
    one = GDPO(whiten=False, eps=1e-12)(matrix([[0, 0], [0, 1]], 2)).values
    two = GDPO(whiten=False, eps=1e-12)(matrix([[0, 0], [1, 1]], 2)).values
    torch.testing.assert_close(one, torch.tensor([-1.0, 1.0]).double() * math.sqrt(0.5))
    torch.testing.assert_close(two, torch.tensor([-1.0, 1.0]).double() * math.sqrt(2.0))


def test_weights_multiply_normalised_rewards() -> None:
    values = GDPO(whiten=False, eps=1e-12)(matrix([[0, 9], [5, 7]], 2, [1.0, 3.0])).values
    torch.testing.assert_close(values, torch.tensor([2.0, -2.0]).double() * math.sqrt(0.5))


def test_contributions_are_the_weights() -> None:
    metrics = GDPO()(matrix([[0, 9], [5, 7]], 2, [1.0, 3.0])).metrics
    assert metrics["advantage/weight/r0"] == pytest.approx(0.25)
    assert metrics["advantage/weight/r1"] == pytest.approx(0.75)
    assert metrics["advantage/variance_penalty"] == 0


@settings(deadline=None)
@given(
    scores=st.lists(
        st.lists(st.floats(0, 1, width=32), min_size=2, max_size=2), min_size=12, max_size=12
    )
)
def test_a_group_that_nothing_tells_apart_is_on_neither_side_of_0(
    scores: list[list[float]],
) -> None:
    """Rounding would have a sign, by which tokens count as clipped."""
    constant = [[0.3, 0.7]] * 4
    advantages = GDPO()(matrix([*scores, *constant], 4, [1.0, 0.3]))
    assert advantages.values[12:].tolist() == [0, 0, 0, 0]


@settings(deadline=None)
@given(
    constant=st.lists(st.booleans(), min_size=3, max_size=3),
    score=st.floats(0.125, 1, width=32),
)
def test_frac_reward_zero_std_says_whether_anything_tells_the_step_apart(
    constant: list[bool], score: float
) -> None:
    """As in TRL's normalize_then_sum; the share of groups has a name of its own."""
    rows = [[score * (is_constant or n % 2)] for is_constant in constant for n in range(4)]
    metrics = GDPO()(matrix(rows, 4, [0.3])).metrics
    assert metrics["frac_reward_zero_std"] == all(constant)
    assert metrics["advantage/dead_group_frac"] == pytest.approx(sum(constant) / 3)
