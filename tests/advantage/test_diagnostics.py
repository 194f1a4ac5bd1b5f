from __future__ import annotations

import math
from dataclasses import replace

import pytest

from rvpo.advantage import (
    GDPO,
    GRPO,
    RDPO,
    RVPO,
    AdvantageEstimator,
    HardMin,
    MeanVariance,
)
from rvpo.advantage.diagnostics import metrics_by_aspect
from rvpo.types import Rewards

from .matrices import ALL, label, matrix, random_binary

ROWS = [[0, 1], [1, 0], [1, 1], [0, 0]]
OWN = {"rvpo/k", "advantage/taylor_residual", "advantage/taylor_bound"}
OWN_OF_GDPO = {"frac_reward_zero_std"}
PROPER = [each for each in ALL if not isinstance(each, RDPO)]
"""All but RDPO, whose weights have both signs, so that their absolute values sum to 1."""


@pytest.mark.parametrize("estimator", ALL, ids=label)
def test_every_estimator_logs_the_same_names(estimator: AdvantageEstimator) -> None:
    rewards = Rewards(random_binary(8, 4, 3), list("abc"), 4)
    common = set(estimator(rewards).metrics) - OWN - OWN_OF_GDPO
    assert common == set(GDPO()(rewards).metrics) - OWN_OF_GDPO


@pytest.mark.parametrize("estimator", PROPER, ids=label)
def test_weights_and_bottlenecks_sum_to_one(estimator: AdvantageEstimator) -> None:
    rewards = matrix([[0, 1, None], [1, 0, 3], [1, 1, 2], [None, 0, 1]], 4, [1.0, 2.0, 0.5])
    metrics = estimator(rewards).metrics
    for kind in ("weight", "bottleneck"):
        assert sum(metrics[f"advantage/{kind}/r{j}"] for j in range(3)) == pytest.approx(1)


def test_names_carry_the_rewards() -> None:
    metrics = RVPO()(Rewards(random_binary(8, 4, 2), ["correct", "format"], 4)).metrics
    moments = ("mean", "std", "abs_mean", "min", "max", "frac_zero")
    expected = {f"{p}/{m}" for p in ("advantage", "advantage_raw") for m in moments}
    for name in ("correct", "format"):
        expected |= {f"advantage/{kind}/{name}" for kind in ("pull", "weight", "bottleneck")}
        expected |= {f"rewards/{name}/zero_std_frac"}
    expected |= {"advantage/weight_entropy", "advantage/variance_penalty"}
    expected |= {"advantage/untrained_frac", "advantage/dead_group_frac"}
    assert set(metrics) == expected | OWN


def test_bottleneck_is_the_lowest_reward_and_ties_split() -> None:
    metrics = RVPO()(matrix([[0, 1], [1, 0], [1, 1], [0, 1]], 4)).metrics
    # z of r0 = +-.866; of r1 = .5 or -1.5. Rows 0 and 3: r0. Rows 1: r1. Row 2: r1 (.5 < .866).
    assert metrics["advantage/bottleneck/r0"] == 0.5
    assert metrics["advantage/bottleneck/r1"] == 0.5
    tied = RVPO()(matrix([[0, 0], [1, 1]], 2)).metrics
    assert tied["advantage/bottleneck/r0"] == 0.5


def test_penalty_and_residual_by_hand() -> None:
    z = math.sqrt(0.75)
    metrics = RVPO(k=1.0, eps=1e-12)(matrix(ROWS, 4)).metrics
    penalty = math.log(math.cosh(z))  # in two of four rows, whose z are -+sqrt 3/4
    assert metrics["advantage/variance_penalty"] == pytest.approx(penalty / 2)
    assert metrics["advantage/taylor_residual"] == pytest.approx((z**2 / 2 - penalty) / 2)
    bound = (2 * z) ** 3 / (36 * math.sqrt(3))  # in the same two rows
    assert metrics["advantage/taylor_bound"] == pytest.approx(bound / 2)
    explicit = MeanVariance(beta=0.5, eps=1e-12)(matrix(ROWS, 4)).metrics
    assert explicit["advantage/variance_penalty"] == pytest.approx(z**2 / 4)
    hard = HardMin(eps=1e-12)(matrix(ROWS, 4)).metrics
    assert hard["advantage/variance_penalty"] == pytest.approx(z / 2)


def test_entropy_of_equal_weights_is_log_m() -> None:
    assert GDPO()(matrix(ROWS, 4)).metrics["advantage/weight_entropy"] == pytest.approx(math.log(2))
    hard = HardMin()(matrix([[0, 1], [1, 0]], 2)).metrics
    assert hard["advantage/weight_entropy"] == 0


def test_dead_channels_count_over_the_groups_that_have_them() -> None:
    # r0 is dead in the first of three groups; r1 exists in the last two and is dead in one.
    rows = [[1, None], [1, None], [0, 5], [1, 5], [1, 5], [0, 6]]
    metrics = GDPO()(matrix(rows, 2)).metrics
    assert metrics["rewards/r0/zero_std_frac"] == pytest.approx(1 / 3)
    assert metrics["rewards/r1/zero_std_frac"] == 0.5
    assert metrics["advantage/dead_group_frac"] == pytest.approx(1 / 3)


def test_moments_before_and_after_whitening() -> None:
    metrics = GDPO(eps=1e-12)(matrix([[0, 0], [1, 1]], 2)).metrics
    assert metrics["advantage_raw/max"] == pytest.approx(math.sqrt(2))
    assert metrics["advantage_raw/std"] == pytest.approx(2)
    assert metrics["advantage/max"] == pytest.approx(math.sqrt(0.5))
    assert metrics["advantage/std"] == pytest.approx(1)
    assert metrics["advantage/frac_zero"] == 0


def test_untrained_share() -> None:
    metrics = GRPO()(matrix([[0], [1], [None], [2]], 4)).metrics
    assert metrics["advantage/untrained_frac"] == 0.25


@pytest.mark.parametrize("estimator", ALL, ids=label)
def test_aspects_stand_in_place_of_columns(estimator: AdvantageEstimator) -> None:
    rewards = matrix([[0, 1, None], [1, 0, 3], [1, 1, 2], [None, 0, 1]], 4, [1.0, 2.0, 0.5])
    advantages = estimator(rewards)
    columns = rewards.columns
    found = metrics_by_aspect(rewards, advantages, {"both": columns["r0"] | columns["r2"]})
    for kind in ("weight", "bottleneck"):
        parts = [advantages.metrics[f"advantage/{kind}/{name}"] for name in ("r0", "r2")]
        assert found[f"advantage/{kind}/both"] == pytest.approx(sum(parts))
    assert not [name for name in found if "/r1" in name]
    whole = set(advantages.metrics) - {name for name in advantages.metrics if "/r" in name}
    assert whole <= set(found)
    assert metrics_by_aspect(rewards, advantages, columns) == pytest.approx(advantages.metrics)


def test_an_estimator_that_tells_nothing_of_its_channels_is_told_its_pulls() -> None:
    rewards = matrix(ROWS, 4)
    silent = replace(GDPO()(rewards), channels=None, metrics={"mine/x": 1.0})
    pulls = {"advantage/pull/r0": pytest.approx(0.5), "advantage/pull/r1": pytest.approx(0.5)}
    assert metrics_by_aspect(rewards, silent, rewards.columns) == {"mine/x": 1.0, **pulls}
