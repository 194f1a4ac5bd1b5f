"""Levels of satisfaction, and estimators that read them in place of scores."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.testing import assert_close as close

from rvpo.advantage import GDPO, GRPO, RVPO, HardMin, LevelMin, MeanVariance, RawRVPO
from rvpo.advantage.level import at_levels, levels, met, reached
from rvpo.errors import RewardError
from rvpo.satisfied import Satisfied
from rvpo.types import Rewards

from .matrices import label, matrix

KINDS = [GRPO, GDPO, RVPO, MeanVariance, HardMin, RawRVPO]
every_kind = pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.__name__)
bounds = st.tuples(st.integers(-8, 8), st.integers(1, 8)).map(lambda b: Satisfied(b[0], sum(b)))
score = st.floats(-20, 20).map(lambda x: round(x, 3))


def one(value: float, declared: Satisfied | None, dtype: torch.dtype = torch.double) -> Rewards:
    return Rewards(torch.tensor([[value]], dtype=dtype), ["r"], 1, satisfied=[declared])


def verdicts(groups: int, size: int, channels: int, seed: int) -> Rewards:
    draw = torch.rand(groups * size, channels, generator=torch.Generator().manual_seed(seed))
    return Rewards((draw < 0.4).double(), [f"r{j}" for j in range(channels)], size)


@given(value=score, declared=bounds)
def test_level_is_nothing_up_to_bad_and_everything_from_good_on(
    value: float, declared: Satisfied
) -> None:
    level = levels(one(value, declared)).item()
    assert (level == 0) == (value <= declared.bad)
    assert (level == 1) == bool(met(one(value, declared)))
    assert level == 1 if value >= declared.good else level <= 0.5


@given(pair=st.tuples(score, score), declared=bounds)
def test_level_never_falls_where_a_score_rises(
    pair: tuple[float, float], declared: Satisfied
) -> None:
    low, high = (levels(one(value, declared)).item() for value in sorted(pair))
    assert low <= high


@given(value=score, declared=bounds, unit=st.floats(0.01, 100), shift=st.floats(-50, 50))
def test_level_is_the_same_in_every_unit(
    value: float, declared: Satisfied, unit: float, shift: float
) -> None:
    moved = Satisfied(unit * declared.bad + shift, unit * declared.good + shift)
    close(levels(one(unit * value + shift, moved)), levels(one(value, declared)))


@pytest.mark.parametrize("verdict", [0.0, 1.0])
def test_verdict_is_its_own_level(verdict: float) -> None:
    assert levels(one(verdict, None)).item() == verdict
    assert levels(one(verdict, Satisfied())).item() == verdict


@pytest.mark.parametrize("good", [0.9, 0.1, 0.7, 1e6 + 0.1, -0.3])
def test_score_of_32_bits_reaches_what_is_good(good: float) -> None:
    rewards = one(good, Satisfied(good - 10, good), torch.float32)
    assert met(rewards).all()
    assert levels(rewards).item() == 1


def test_missing_score_has_no_level_and_is_not_met() -> None:
    rewards = matrix([[None], [5.0]], 2, satisfied=[Satisfied(-1, 0)])
    assert levels(rewards).tolist() == [[0.0], [1.0]]
    assert met(rewards).tolist() == [[False], [True]]
    assert reached(rewards).tolist() == [[0.0], [1.0]]


@given(value=st.floats(0, 1))
def test_way_of_an_undeclared_score_is_the_score(value: float) -> None:
    assert reached(one(value, None)).item() == value


@pytest.mark.parametrize("value", [-0.5, 1.5])
@pytest.mark.parametrize("estimator", [k(inputs="level") for k in KINDS] + [LevelMin()], ids=label)
def test_undeclared_score_outside_0_to_1_is_refused_by_name(estimator: Any, value: float) -> None:
    rewards = Rewards(torch.tensor([[1.0, 0.0], [0.0, value]]), ["fine", "long"], 2)
    with pytest.raises(RewardError, match=rf"'long' has a score of {value}.*rewards\.long\.sat"):
        estimator(rewards)
    declared = replace(rewards, satisfied=[None, Satisfied(-1, 2)])
    assert estimator(declared).trained.all()


def test_setting_that_is_named_is_that_of_a_whole_reward() -> None:
    rewards = Rewards(torch.tensor([[3.0], [0.0]]), ["toxic/insult"], 2)
    with pytest.raises(RewardError, match=r"rewards\.toxic\.satisfied"):
        levels(rewards)


def test_reward_that_is_only_logged_needs_no_declaration() -> None:
    rewards = Rewards(torch.tensor([[1.0, 300.0], [0.0, 200.0]]), ["a", "b"], 2)
    logged = replace(rewards, weights=torch.tensor([1.0, 0.0]))
    alone = Rewards(torch.tensor([[1.0], [0.0]]), ["a"], 2)
    assert torch.equal(LevelMin()(logged).values, LevelMin()(alone).values)


@every_kind
@settings(max_examples=30)
@given(seed=st.integers(0, 999))
def test_verdicts_are_read_alike_as_scores_and_as_levels(kind: Any, seed: int) -> None:
    rewards = verdicts(3, 4, 3, seed)
    as_scores, as_levels = (kind(inputs=each)(rewards) for each in ("score", "level"))
    assert torch.equal(as_scores.values, as_levels.values)
    assert torch.equal(as_scores.z, as_levels.z)
    assert as_scores.metrics == as_levels.metrics


@every_kind
@settings(max_examples=30)
@given(seed=st.integers(0, 999))
def test_levels_are_scores_of_the_levels(kind: Any, seed: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    values = torch.rand(8, 2, generator=generator, dtype=torch.double) * 4 - 1
    rewards = Rewards(values, ["a", "b"], 4, satisfied=[Satisfied(0, 2), Satisfied(-1, 1)])
    read = kind(inputs="level")(rewards)
    close(read.values, kind()(at_levels(rewards)).values, rtol=0, atol=0)


@pytest.mark.parametrize("kind", KINDS[1:], ids=lambda kind: kind.__name__)
@settings(max_examples=30)
@given(seed=st.integers(0, 999))
def test_without_a_divisor_deviations_keep_their_size(kind: Any, seed: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    values = torch.rand(4, 1, generator=generator, dtype=torch.double)
    found = kind(scale="none", whiten=False)(Rewards(values, ["a"], 4)).values
    close(found, (values - values.mean())[:, 0])


@settings(max_examples=50)
@given(seed=st.integers(0, 999), k=st.sampled_from([0.0, 0.7, 4.0, math.inf]))
def test_without_rarity_level_min_is_the_soft_minimum_of_levels(seed: int, k: float) -> None:
    rewards = verdicts(2, 4, 3, seed)
    raw = RawRVPO(k=k, inputs="level", scale="none")
    assert torch.equal(LevelMin(k=k, rarity=0.0)(rewards).values, raw(rewards).values)


@settings(max_examples=50)
@given(seed=st.integers(0, 999))
def test_limits_of_k_are_the_weighted_mean_and_the_minimum(seed: int) -> None:
    rewards = verdicts(1, 4, 3, seed)
    plain = {"rarity": 0.0, "whiten": False}
    mean, minimum = rewards.values.mean(dim=1), rewards.values.amin(dim=1)
    for k, expected in ((1e-9, mean), (0.0, mean), (1e9, minimum), (math.inf, minimum)):
        found = LevelMin(k=k, **plain)(rewards).values  # type: ignore[arg-type]
        close(found, expected - expected.mean(), rtol=1e-5, atol=1e-5)


def test_equation_by_hand() -> None:
    """p = (1/4, 3/4): weights 1/(1/4 + 1/2) and 1/(3/4 + 1/2), which are 4/3 and 4/5."""
    found = LevelMin(k=2.0, whiten=False)(
        matrix([[1.0, 1.0], [0.0, 1.0], [0.0, 1.0], [0.0, 0.0]], 4, satisfied=[Satisfied()] * 2)
    )
    v, e = (4 / 3, 4 / 5), math.exp(-2)
    half = -0.5 * math.log((v[0] + v[1] * e) / sum(v))
    minima = [1.0, half, half, 0.0]
    expected = [each - sum(minima) / 4 for each in minima]
    assert found.values.tolist() == pytest.approx(expected, abs=1e-12)


@settings(max_examples=50)
@given(seed=st.integers(0, 999), constant=st.sampled_from([0.0, 0.1, 0.5, 1.0]))
def test_dead_group_gets_exactly_nothing_before_whitening(seed: int, constant: float) -> None:
    values = verdicts(2, 4, 3, seed).values
    values[:4] = constant
    found = LevelMin(whiten=False)(Rewards(values, ["a", "b", "c"], 4))
    assert found.values[:4].eq(0).all()


@settings(max_examples=50)
@given(seed=st.integers(0, 999), unit=st.floats(0.1, 50), shift=st.floats(-20, 20))
def test_unit_of_a_reward_changes_nothing(seed: int, unit: float, shift: float) -> None:
    values = torch.rand(8, 2, generator=torch.Generator().manual_seed(seed), dtype=torch.double)
    moved = values.clone()
    moved[:, 1] = unit * moved[:, 1] + shift
    good = Satisfied(0.1, 0.61)
    there = Satisfied(unit * good.bad + shift, unit * good.good + shift)
    one_, other = (
        LevelMin()(Rewards(v, ["a", "b"], 4, satisfied=[good, s])).values
        for v, s in ((values, good), (moved, there))
    )
    close(one_, other, rtol=1e-6, atol=1e-6)


@settings(max_examples=50)
@given(seed=st.integers(0, 999), more=st.floats(0.01, 5))
def test_more_of_what_is_satisfied_changes_nothing(seed: int, more: float) -> None:
    rewards = verdicts(2, 4, 3, seed)
    declared = replace(rewards, satisfied=[Satisfied()] * 3)
    raised = replace(declared, values=declared.values * (1 + more))
    close(LevelMin()(raised).values, LevelMin()(declared).values, rtol=0, atol=0)


@settings(max_examples=50)
@given(seed=st.integers(0, 999), row=st.integers(0, 3), column=st.integers(0, 2))
def test_better_score_never_lowers_its_own_sample(seed: int, row: int, column: int) -> None:
    """With weights as they are configured: those of rarity fall for what is met more often."""
    generator = torch.Generator().manual_seed(seed)
    rewards = Rewards(torch.rand(4, 3, generator=generator, dtype=torch.double), list("abc"), 4)
    better = rewards.values.clone()
    better[row, column] = 1.0
    estimator = LevelMin(rarity=0.0, whiten=False)
    before, after = estimator(rewards), estimator(replace(rewards, values=better))
    assert after.values[row] >= before.values[row] - 1e-12


@given(channels=st.integers(2, 9), data=st.data())
def test_rewards_that_most_meet_do_not_outweigh_one_that_nobody_meets(
    channels: int, data: st.DataObject
) -> None:
    """M against M - 1 times 1 / (p + 1/M), which is less where p is above 1 - 2/M."""
    size = 8
    most = st.integers(1 + math.floor(size * (1 - 2 / channels)), size)
    met_by = data.draw(st.lists(most, min_size=channels - 1, max_size=channels - 1))
    values = [[float(i < m) for m in met_by] + [0.0] for i in range(size)]
    rewards = matrix(values, size, satisfied=[None] * channels)
    weights = LevelMin().weights(LevelMin().read(rewards))
    assert weights.max().item() == weights[0, -1].item() == pytest.approx(channels)
    assert weights[0, :-1].sum() < weights[0, -1]


def test_missing_score_counts_as_its_group_mean() -> None:
    rows: list[list[float | None]] = [[1.0, None], [0.0, 1.0], [0.0, 0.0], [1.0, 0.0]]
    filled = [[1.0, 1 / 3], *rows[1:]]
    estimator = LevelMin(whiten=False)
    reading = estimator.read(matrix(rows, 4, satisfied=[Satisfied()] * 2))
    close(reading.values[:, 1], torch.tensor([1 / 3, 1.0, 0.0, 0.0], dtype=torch.double))
    assert estimator.weights(reading)[0, 1] == pytest.approx(1 / (1 / 3 + 1 / 2))
    assert filled[0][1] == pytest.approx(reading.values[0, 1].item())


def test_rubrics_of_several_lengths_have_the_rarity_of_their_own_criteria() -> None:
    """A place of weight 0 is none of a row's rewards, whatever stands there."""
    short = matrix([[1.0], [0.0], [0.0]], 3, satisfied=[None])
    long = matrix([[1.0, 1.0], [0.0, 0.0], [0.0, 1.0]], 3, [[1.0, 0.0]] * 3, satisfied=[None, None])
    for each in (short, long):
        weights = LevelMin().weights(LevelMin().read(each))
        assert weights[:, 0].tolist() == pytest.approx([1 / (1 / 3 + 1)] * 3)
    assert LevelMin()(short).values.tolist() == LevelMin()(long).values.tolist()


def test_unreliable_reward_is_shrunk_towards_its_group() -> None:
    rows = [[1.0, 0.0], [0.0, 1.0], [1.0, 1.0], [0.0, 0.0]]
    sure = matrix(rows, 4, satisfied=[None, None])
    estimator = LevelMin(weight_by_reliability=True, whiten=False)
    share = {
        rho: estimator(replace(sure, reliability=torch.tensor([1.0, rho]))).values
        for rho in (0.0, 0.5, 1.0)
    }
    assert torch.equal(share[1.0], LevelMin(whiten=False)(sure).values)
    gap = {rho: float(values[2] - values[0]) for rho, values in share.items()}
    assert gap[0.0] == pytest.approx(0, abs=1e-12)
    assert 0 < gap[0.5] < gap[1.0]


@pytest.mark.parametrize("rarity", [-1.0, math.nan, math.inf])
def test_rarity_is_finite_and_not_negative(rarity: float) -> None:
    with pytest.raises(ValueError, match="rarity must be a finite number of at least 0"):
        LevelMin(rarity=rarity)


def test_level_min_reads_nothing_but_levels() -> None:
    with pytest.raises(ValueError, match="inputs must be one of 'level', got 'score'"):
        LevelMin(inputs="score")  # type: ignore[arg-type]


@pytest.mark.parametrize(("bad", "good"), [(0.0, 1e-7), (1e6, 1e6 + 1), (1.7e9, 1.7e9 + 600)])
def test_bounds_as_near_as_rounding_are_refused(bad: float, good: float) -> None:
    with pytest.raises(ValueError, match="as near as scores of 32 bits are rounded"):
        Satisfied(bad=bad, good=good)
