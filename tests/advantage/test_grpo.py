from __future__ import annotations

import math
import statistics

import pytest
import torch
from hypothesis import given

from rvpo.advantage import GRPO

from .matrices import matrix, rows

Rows = tuple[list[list[float | None]], int]
WEIGHTS = [1.0, 0.5, 2.0, 0.25]


def loop(values: list[list[float | None]], group_size: int, weights: list[float]) -> list[float]:
    """TRL's sum_then_normalize, a sample at a time."""
    advantages = []
    for start in range(0, len(values), group_size):
        totals = [
            None
            if all(r is None for r in row)
            else sum(w * r for w, r in zip(weights, row, strict=True) if r is not None)
            for row in values[start : start + group_size]
        ]
        known = [t for t in totals if t is not None]
        for total in totals:
            if total is None or len(known) < 2:
                advantages.append(0.0)
            else:
                spread = statistics.stdev(known) + 1e-4
                advantages.append((total - statistics.fmean(known)) / spread)
    return advantages


@given(rows(missing=True))
def test_summing_what_is_there_equals_trl(case: Rows) -> None:
    values, group_size = case
    weights = WEIGHTS[: len(values[0])]
    advantages = GRPO(missing="zero")(matrix(values, group_size, weights)).values
    expected = torch.tensor(loop(values, group_size, weights), dtype=torch.double)
    torch.testing.assert_close(advantages, expected, rtol=1e-6, atol=1e-6)


@given(rows())
def test_without_missing_scores_equals_trl(case: Rows) -> None:
    values, group_size = case
    weights = WEIGHTS[: len(values[0])]
    advantages = GRPO()(matrix(values, group_size, weights)).values
    expected = torch.tensor(loop(values, group_size, weights), dtype=torch.double)
    torch.testing.assert_close(advantages, expected, rtol=1e-6, atol=1e-6)


def test_hand_computed_group() -> None:
    advantages = GRPO(eps=1e-12)(matrix([[1], [2], [3]], 3))
    torch.testing.assert_close(advantages.values, torch.tensor([-1.0, 0.0, 1.0]).double())


def test_totals_of_different_reach_get_the_same_advantage() -> None:
    # GDPO's worked example: (0, 1) and (0, 2) both become -+0.7071.
    one = GRPO(eps=1e-12)(matrix([[0, 0], [0, 1]], 2)).values
    two = GRPO(eps=1e-12)(matrix([[0, 0], [1, 1]], 2)).values
    torch.testing.assert_close(one, torch.tensor([-1.0, 1.0]).double() * math.sqrt(0.5))
    torch.testing.assert_close(two, one)


def test_dr_grpo_only_centres() -> None:
    advantages = GRPO(scale="none")(matrix([[1], [2], [6]], 3))
    assert advantages.values.tolist() == [-2, -1, 3]


@given(rows())
def test_scaled_by_the_batch_equals_trl(case: Rows) -> None:
    values, group_size = case
    weights = WEIGHTS[: len(values[0])]
    totals = [sum(w * r for w, r in zip(weights, row, strict=True)) for row in values]  # type: ignore[operator]
    groups = [totals[i : i + group_size] for i in range(0, len(totals), group_size)]
    spread = statistics.stdev(totals) + 1e-4
    expected = [(r - statistics.fmean(group)) / spread for group in groups for r in group]
    advantages = GRPO(scale="batch")(matrix(values, group_size, weights)).values
    torch.testing.assert_close(
        advantages, torch.tensor(expected, dtype=torch.double), rtol=1e-6, atol=1e-6
    )


def test_failed_score_leaves_the_group() -> None:
    advantages = GRPO(eps=1e-12)(matrix([[1], [3], [2], [None]], 4))
    torch.testing.assert_close(advantages.values, torch.tensor([-1.0, 1.0, 0.0, 0.0]).double())
    assert advantages.trained.tolist() == [True, True, True, False]


def test_missing_score_moves_nothing() -> None:
    # Reward b is 10 wherever it exists. Read as 0, its absence would look like a disaster.
    scored = matrix([[0, 10], [1, 10], [0.5, None]], 3)
    neutral = GRPO()(scored).values
    torch.testing.assert_close(neutral, GRPO()(matrix([[0], [1], [0.5]], 3)).values)
    assert GRPO(missing="zero")(scored).values[2] < -1


def test_only_score_of_its_channel_moves_nothing() -> None:
    advantages = GRPO()(matrix([[0, 10], [1, None], [0.5, None]], 3)).values
    torch.testing.assert_close(advantages, GRPO()(matrix([[0], [1], [0.5]], 3)).values)


def test_equal_totals_get_exactly_nothing() -> None:
    # Rewards that differ and cancel: the case GDPO and RVPO can still learn from.
    advantages = GRPO()(matrix([[1, 0], [0, 1]], 2))
    assert advantages.values.tolist() == [0, 0]
    assert advantages.trained.all()


def test_contributions_follow_the_spread_of_each_reward() -> None:
    metrics = GRPO(eps=1e-9)(matrix([[0, 0], [3, 1]], 2)).metrics
    assert metrics["advantage/weight/r0"] == pytest.approx(0.75)
    assert metrics["advantage/weight/r1"] == pytest.approx(0.25)
    assert metrics["advantage/variance_penalty"] == 0
