"""What CVaR, MO-GRPO, POW3R, RDPO, Rubric Dropout and smooth Tchebycheff are for."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from rvpo.advantage import (
    GDPO,
    GRPO,
    MOGRPO,
    POW3R,
    RDPO,
    CVaR,
    HardMin,
    RubricDropout,
    SmoothTchebycheff,
)
from rvpo.types import Rewards

from . import reference_field_b
from .matrices import label, matrix, random_binary
from .reference import Step
from .test_reference import options, steps

ESTIMATORS: list[reference_field_b.FieldB] = [
    MOGRPO(),
    CVaR(alpha=0.4),
    CVaR(alpha=1.0),
    SmoothTchebycheff(mu=0.7),
    POW3R(),
    POW3R(blend=1.0, low=0.5, high=2.0),
    RubricDropout(fraction=0.5, keep=1),
    RDPO(),
    RDPO(magnitude=0.0, ridge=0.1),
]


def check(estimator: Any, step: Step, progress: float = 0.0) -> None:
    prompts = [f"prompt {g}" for g in range(len(step.groups))]
    rewards = replace(matrix(step.scores, step.group_size, step.weights), prompts=tuple(prompts))
    found = estimator(rewards, progress)
    values, trained = reference_field_b.run(estimator, step, prompts, progress)
    assert found.trained.tolist() == trained
    torch.testing.assert_close(
        found.values, torch.tensor(values, dtype=torch.double), rtol=1e-7, atol=1e-7
    )


@pytest.mark.parametrize("estimator", ESTIMATORS, ids=label)
@settings(max_examples=50)
@given(step=steps(), chosen=options, progress=st.floats(0, 1))
def test_equals_the_plain_loops(
    estimator: Any, step: Step, chosen: dict[str, Any], progress: float
) -> None:
    check(replace(estimator, **chosen), step, progress)


@pytest.mark.parametrize("estimator", ESTIMATORS, ids=label)
def test_equals_the_plain_loops_on_rubrics_of_unlike_length(estimator: Any) -> None:
    draw = torch.Generator().manual_seed(3)
    verdicts = torch.randint(0, 3, (24, 6), generator=draw).tolist()
    lacks = (torch.rand(24, 6, generator=draw) < 0.1).tolist()
    scores = [
        [None if none else v / 2 for v, none in zip(*row, strict=True)]
        for row in zip(verdicts, lacks, strict=True)
    ]
    lengths = [2, 6, 4]
    weights = [[float(j + 1) * (j < lengths[i // 8]) for j in range(6)] for i in range(24)]
    check(estimator, Step(scores=scores, weights=weights, group_size=8), 0.25)


# MO-GRPO


def test_mo_grpo_whitened_is_gdpo() -> None:
    rewards = matrix([[0, 5], [1, 4], [0, 0], [1, None]], 4)
    torch.testing.assert_close(MOGRPO(whiten=True)(rewards).values, GDPO()(rewards).values)


def test_mo_grpo_moves_a_step_of_agreement_further_than_one_of_conflict() -> None:
    agree, conflict = matrix([[0, 0], [1, 1]], 2), matrix([[0, 1.1], [1, 0]], 2)
    far, near = (MOGRPO()(step).values.abs().max() for step in (agree, conflict))
    assert near < 1e-3 < 1 < far


# CVaR


def test_whole_tail_is_the_mean_and_a_thin_one_the_minimum() -> None:
    rewards = Rewards(random_binary(5, 8, 4), list("abcd"), 8)
    for alpha, other in ((1.0, GDPO()), (1e-9, HardMin()), (0.25, HardMin())):
        found = CVaR(alpha=alpha)(rewards).values
        torch.testing.assert_close(found, other(rewards).values, rtol=1e-3, atol=1e-3)


def test_last_of_the_tail_counts_by_its_fraction() -> None:
    z = torch.tensor([[3.0, -1.0, 0.5]], dtype=torch.double)  # alpha M = 1.5
    found = CVaR(alpha=0.5).aggregate(z, torch.ones_like(z), 0.0)
    assert found.values.item() == pytest.approx((-1.0 + 0.5 * 0.5) / 1.5)
    assert found.contribution.tolist() == [pytest.approx([0, 2 / 3, 1 / 3])]


def test_tail_hears_the_second_worst_and_nothing_of_the_best() -> None:
    z = torch.tensor([[-2.0, -1.0, 1.0, 2.0]], dtype=torch.double)

    def worth(*changed: float) -> float:
        moved = z + torch.tensor([changed], dtype=torch.double)
        return CVaR(alpha=0.5).aggregate(moved, torch.ones_like(z), 0.0).values.item()

    assert worth(0, 0, 0, 5) == worth(0, 0, 0, 0) < worth(0, 0.5, 0, 0)


def test_ties_in_the_tail_share_it_by_weight() -> None:
    z = torch.zeros(1, 2, dtype=torch.double)
    weights = torch.tensor([[1.0, 3.0]], dtype=torch.double)
    found = CVaR(alpha=0.5).aggregate(z, weights, 0.0)
    assert found.contribution.tolist() == [pytest.approx([0.25, 0.75])]


# Smooth Tchebycheff


def test_shift_of_a_reward_is_a_shift_of_its_ideal() -> None:
    rewards = matrix([[0, 0.5], [1, 0.25], [0.5, 1]], 3)
    shifted = matrix([[0, 7.5], [1, 7.25], [0.5, 8]], 3)
    one, other = (SmoothTchebycheff()(each).values for each in (rewards, shifted))
    torch.testing.assert_close(one, other)


def test_small_mu_leaves_the_largest_shortfall_alone() -> None:
    shortfalls = [[-0.2, -0.9], [-0.5, -0.1]]
    weights = torch.tensor([[1.0, 0.5]] * 2, dtype=torch.double)
    found = SmoothTchebycheff(mu=1e-3).aggregate(
        torch.tensor(shortfalls, dtype=torch.double), weights, 0.0
    )
    assert found.values.tolist() == pytest.approx([-0.45, -0.5], abs=2e-3)


def test_what_no_weighted_sum_takes_is_reached() -> None:
    # The middle sample lies in a dent of the front, below the line between the extremes.
    rewards = matrix([[1.0, 0.0], [0.45, 0.45], [0.0, 1.0]], 3)
    assert SmoothTchebycheff(mu=0.1)(rewards).values.argmax() == 1
    assert GRPO()(rewards).values.argmin() == 1


# POW3R


def test_a_reward_that_tells_siblings_apart_outweighs_one_that_hardly_does() -> None:
    # Half meet a; one of eight meets b and not a. The sum has b's sample level with a's.
    rows: list[list[float | None]] = [[1, 0]] * 4 + [[0, 1]] + [[0, 0]] * 3
    rewards = matrix(rows, 8)
    plain, contrasted = GRPO()(rewards).values, POW3R()(rewards).values
    assert plain[4] == pytest.approx(plain[0].item())
    assert contrasted[4] < contrasted[0]


@given(
    rows=st.lists(
        st.lists(st.sampled_from([0.0, 1.0]), min_size=3, max_size=3), min_size=4, max_size=4
    )
)
def test_without_contrast_in_the_weights_pow3r_is_grpo(rows: list[list[float]]) -> None:
    rewards = matrix(rows, 4, [1.0, 2.0, 1.0])
    found = POW3R(blend=0.0, eps=1e-9)(rewards).values
    torch.testing.assert_close(found, GRPO(eps=1e-9)(rewards).values, rtol=1e-6, atol=1e-6)


def test_few_scores_leave_the_weight_as_it_is() -> None:
    few = [[0, 0], [1, None], [0, None], [1, 1]]  # half of the group has the second
    reading = POW3R().read(matrix(few, 4))
    assert POW3R().weights(reading)[:, 1].tolist() == [1.0] * 4
    full = POW3R().read(matrix([[0, 0], [1, 0], [0, 0], [1, 1]], 4))
    assert (POW3R().weights(full)[:, 1] < 1).all()


# Rubric Dropout


def rubric(prompts: int, criteria: int, group_size: int = 4) -> Rewards:
    return Rewards(
        random_binary(prompts, group_size, criteria),
        [f"criterion {j}" for j in range(criteria)],
        group_size,
        prompts=[f"prompt {g}" for g in range(prompts)],
    )


def dropped_of(rewards: Rewards, progress: float, **given: Any) -> torch.Tensor:
    dropout = RubricDropout(**given)
    return dropout.dropped(dropout.read(rewards), progress)


@given(
    criteria=st.integers(1, 12),
    fraction=st.floats(0, 0.99),
    keep=st.integers(1, 6),
    progress=st.floats(0, 1),
)
def test_the_asked_share_is_dropped_and_the_group_shares_it(
    criteria: int, fraction: float, keep: int, progress: float
) -> None:
    mask = dropped_of(rubric(3, criteria), progress, fraction=fraction, keep=keep)
    dropped = mask.reshape(3, 4, criteria)
    assert (dropped == dropped[:, :1]).all()
    expected = min(int(fraction * criteria), max(0, criteria - keep))
    assert dropped[:, 0].sum(dim=1).tolist() == [expected] * 3


def test_mask_is_of_prompt_and_step_alone() -> None:
    rewards = rubric(30, 8)
    once = dropped_of(rewards, 0.5)
    assert torch.equal(once, dropped_of(rewards, 0.5))
    assert not torch.equal(once, dropped_of(rewards, 0.51))
    assert len({tuple(row) for row in once[::4].tolist()}) > 10  # prompts differ
    alone = Rewards(rewards.values[4:8], rewards.names, 4, prompts=["prompt 1"])
    assert torch.equal(dropped_of(alone, 0.5), once[4:8])


def test_mask_does_not_depend_on_the_order_of_columns() -> None:
    rewards = rubric(5, 8)
    order = [3, 1, 7, 0, 2, 6, 5, 4]
    other = Rewards(
        rewards.values[:, order],
        [rewards.names[j] for j in order],
        4,
        prompts=rewards.prompts,
    )
    torch.testing.assert_close(
        RubricDropout()(rewards, 0.1).values, RubricDropout()(other, 0.1).values
    )


def test_every_criterion_is_heard_over_the_steps_about_equally_often() -> None:
    rewards = rubric(8, 8)
    heard = torch.stack([~dropped_of(rewards, s / 100) for s in range(101)]).double()
    assert (heard.mean(dim=(0, 1)) - 0.5).abs().max() < 0.07


def test_nothing_dropped_is_grpo() -> None:
    rewards = rubric(4, 5)
    found = RubricDropout(fraction=0.0, eps=1e-9)(rewards).values
    torch.testing.assert_close(found, GRPO(eps=1e-9)(rewards).values, rtol=1e-6, atol=1e-6)


def test_a_criterion_of_weight_0_is_neither_counted_nor_dropped() -> None:
    rewards = rubric(6, 8)
    weights = torch.tensor([1.0] * 4 + [0.0] * 4, dtype=torch.double)
    dropped = dropped_of(replace(rewards, weights=weights), 0.0, keep=1)
    assert not dropped[:, 4:].any()
    assert dropped.sum(dim=1).tolist() == [2] * 24


# RDPO


def test_copies_of_a_reward_count_as_the_root_of_their_number() -> None:
    values = torch.rand(64, 2, generator=torch.Generator().manual_seed(1), dtype=torch.double)
    copied = values[:, [0, 0, 0, 0, 1]]
    estimator = RDPO(whiten=False, ridge=1e-6)
    one = estimator(Rewards(values, list("ab"), 16)).metrics
    many = estimator(Rewards(copied, list("abcde"), 16)).metrics
    share = sum(many[f"advantage/weight/{name}"] for name in "abcd") / many["advantage/weight/e"]
    assert share == pytest.approx(
        2 * one["advantage/weight/a"] / one["advantage/weight/b"], rel=0.1
    )


def test_quantiles_keep_a_rare_success_from_outweighing_other_prompts() -> None:
    rows = [[float(i < 1)] for i in range(16)] + [[float(i < 8)] for i in range(16)]
    ratios = []
    for magnitude in (0.0, 1.0):
        values = RDPO(magnitude=magnitude, whiten=False)(matrix(rows, 16)).values
        ratios.append((values[0] / values[16]).item())
    assert ratios == pytest.approx([2.69, 3.87], abs=0.01)


def test_absolute_weights_of_rdpo_sum_to_one() -> None:
    found = RDPO()(Rewards(random_binary(6, 8, 4), list("abcd"), 8))
    assert found.channels is not None
    torch.testing.assert_close(found.channels.weight.abs().sum(dim=1), torch.ones(48).double())


def test_rdpo_reads_ranks_alone_where_magnitude_is_0() -> None:
    rows = [[0.1, 5.0], [0.2, 1.0], [0.3, 3.0], [0.4, 2.0]]
    bent = [[math.exp(9 * a), b**3] for a, b in rows]
    one, other = (RDPO(magnitude=0.0)(matrix(each, 4)).values for each in (rows, bent))
    torch.testing.assert_close(one, other)


def test_uncorrelated_rewards_of_equal_spread_are_added_up() -> None:
    rows = [[0, 0], [0, 1], [1, 0], [1, 1]]
    found = RDPO()(matrix(rows, 4)).values
    torch.testing.assert_close(found, GDPO()(matrix(rows, 4)).values, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize(
    ("kind", "setting", "value", "message"),
    [
        (CVaR, "alpha", 0.0, r"alpha must lie in \(0, 1\], got 0"),
        (CVaR, "alpha", math.nan, r"alpha must lie in \(0, 1\], got nan"),
        (SmoothTchebycheff, "mu", 0.0, "mu must be a finite number above 0, got 0"),
        (SmoothTchebycheff, "mu", math.inf, "mu must be a finite number above 0, got inf"),
        (POW3R, "blend", 1.5, r"blend must lie in \[0, 1\], got 1.5"),
        (POW3R, "low", 0.0, r"low must lie in \(0, 1\], got 0"),
        (POW3R, "high", 0.5, "high must be a finite number of at least 1, got 0.5"),
        (RubricDropout, "fraction", 1.0, r"fraction must lie in \[0, 1\), got 1"),
        (RubricDropout, "keep", 0, "keep must be at least 1, got 0"),
        (RDPO, "magnitude", -0.1, r"magnitude must lie in \[0, 1\], got -0.1"),
        (RDPO, "ridge", 0.0, "ridge must be a finite number above 0, got 0"),
    ],
)
def test_impossible_settings_are_refused(kind: Any, setting: str, value: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        kind(**{setting: value})
