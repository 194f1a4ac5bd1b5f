from __future__ import annotations

import math
from functools import partial

import pytest
import torch
from hypothesis import assume, given
from hypothesis import strategies as st

from rvpo.advantage import GDPO, GRPO, RVPO, HardMin, Ramp
from rvpo.advantage.group import whiten
from rvpo.types import Rewards

from .matrices import matrix, random_binary, rows

Rows = tuple[list[list[float | None]], int]


def test_hand_computed_pair() -> None:
    # G = 2: z = -+1/sqrt 2. Row 0 is low on both, row 1 high on both.
    advantages = RVPO(k=1.0, whiten=False, eps=1e-12)(matrix([[0, 1], [1, 5]], 2))
    z = math.sqrt(0.5)
    torch.testing.assert_close(advantages.values, torch.tensor([-z, z]).double())


def test_opposed_rewards_cost_what_gdpo_ignores() -> None:
    # Rows 0 and 1 trade one reward for the other; GDPO calls them average, RVPO below average.
    opposed = matrix([[1, 0], [0, 1], [1, 1], [0, 0]], 4)
    raw = RVPO(k=1.0, whiten=False, eps=1e-12)(opposed)
    assert GDPO(whiten=False)(opposed).values[:2].tolist() == [0, 0]
    z = math.sqrt(0.75)
    assert raw.values[0].item() == pytest.approx(-math.log(math.cosh(z)))
    assert raw.values[2].item() == pytest.approx(z)


@given(rows())
def test_tiny_risk_is_gdpo_up_to_scale(case: Rows) -> None:
    rewards = matrix(*case)
    channels = len(rewards.names)
    gdpo = GDPO(whiten=False)(rewards).values / channels
    for k in (0.0, 1e-9):
        values = RVPO(k=k, whiten=False)(rewards).values
        torch.testing.assert_close(values, gdpo, rtol=0, atol=1e-6)
    assume(gdpo.std() > 1e-2)  # of less, whitening shows the rounding
    torch.testing.assert_close(
        RVPO(k=0.0, eps=1e-12)(rewards).values,
        GDPO(eps=1e-12)(rewards).values,
        rtol=0,
        atol=1e-6,
    )


def test_zero_risk_is_gdpo_over_each_rows_total_weight() -> None:
    # The totals differ, 3 and 2, so that no common scale makes one of the other.
    rewards = matrix([[0, 1], [1, 0], [None, 2], [None, 5]], 2, [1.0, 2.0])
    totals = torch.tensor([3.0, 3.0, 2.0, 2.0], dtype=torch.double)
    mean, total = (kind(whiten=False)(rewards).values for kind in (partial(RVPO, k=0.0), GDPO))
    torch.testing.assert_close(mean * totals, total)
    whitened = RVPO(k=0.0)(rewards).values - GDPO()(rewards).values
    assert whitened.abs().max() > 0.1


@given(rows(missing=True))
def test_infinite_risk_is_the_hard_minimum(case: Rows) -> None:
    values, group_size = case
    rewards = matrix(values, group_size, [1.0 + j for j in range(len(values[0]))])
    limit, hard = RVPO(k=math.inf)(rewards), HardMin()(rewards)
    torch.testing.assert_close(limit.values, hard.values)
    assert limit.metrics == hard.metrics


@given(rows())
def test_one_reward_is_grpo_whitened(case: Rows) -> None:
    values, group_size = case
    rewards = matrix([row[:1] for row in values], group_size)
    expected = whiten(GRPO()(rewards).values, 1e-4)
    torch.testing.assert_close(RVPO(k=2.0)(rewards).values, expected)


@given(rows(), st.floats(0.1, 10))
def test_only_relative_weights_matter(case: Rows, scale: float) -> None:
    values, group_size = case
    weights = [1.0 + j for j in range(len(values[0]))]
    one = RVPO()(matrix(values, group_size, weights))
    other = RVPO()(matrix(values, group_size, [scale * w for w in weights]))
    torch.testing.assert_close(one.values, other.values, rtol=1e-6, atol=1e-6)


def test_a_weight_of_two_is_the_reward_twice() -> None:
    values = random_binary(3, 4, 2)
    once = RVPO()(Rewards(values, ["a", "b"], 4, weights=torch.tensor([2.0, 1.0])))
    twice = RVPO()(Rewards(values[:, [0, 0, 1]], ["a", "a2", "b"], 4))
    torch.testing.assert_close(once.values, twice.values)


def test_prompts_may_differ_in_their_rewards() -> None:
    # Group 0 has rewards a and b, group 1 has c alone: each is aggregated as if on its own.
    ragged = matrix([[0, 1, None], [1, 3, None], [None, None, 2], [None, None, 7]], 2)
    raw = RVPO(whiten=False)(ragged).values
    torch.testing.assert_close(raw[:2], RVPO(whiten=False)(matrix([[0, 1], [1, 3]], 2)).values)
    torch.testing.assert_close(raw[2:], RVPO(whiten=False)(matrix([[2], [7]], 2)).values)


def test_dead_channel_caps_the_upside_unless_masked() -> None:
    # Reward b is constant: kept, it bounds A by ln(M / M_dead) / k from above and by nothing below.
    rewards = matrix([[0, 1]] * 15 + [[1, 1]], 16)
    kept = RVPO(k=5.0, whiten=False)(rewards).values
    assert 0 < kept[-1] < math.log(2) / 5
    masked = RVPO(k=5.0, whiten=False, dead_channels="mask")(rewards).values
    alone = RVPO(k=5.0, whiten=False)(matrix([[0]] * 15 + [[1]], 16)).values
    torch.testing.assert_close(masked, alone)


@pytest.mark.parametrize(
    ("group_size", "channels", "k", "bias"),
    [(4, 2, 1, 0.22), (4, 2, 2, 0.35), (16, 7, 1, 0.78), (16, 17, 1, 1.23), (16, 17, 2, 1.49)],
)
def test_dead_groups_gain_a_bias_that_recentring_and_masking_remove(
    group_size: int, channels: int, k: float, bias: float
) -> None:
    # Binary rewards, every fourth group dead: whitening subtracts the negative mean of the others.
    values = random_binary(400, group_size, channels).reshape(-1, group_size, channels)
    values[::4] = 0.0
    dead = torch.zeros(values.shape[:2], dtype=torch.bool)
    dead[::4] = True
    rewards = Rewards(values.reshape(-1, channels), [f"r{j}" for j in range(channels)], group_size)
    dead = dead.reshape(-1)

    kept = RVPO(k=k)(rewards).values[dead]
    assert kept.mean().item() == pytest.approx(bias, rel=0.1)
    assert kept.std() < 1e-9

    recentred = RVPO(k=k, dead_groups="recentre")(rewards)
    assert recentred.values[dead].abs().max() < 1e-9
    assert recentred.trained.all()

    masked = RVPO(k=k, dead_groups="mask")(rewards)
    assert not masked.trained[dead].any()
    assert masked.values[dead].eq(0).all()
    assert GDPO()(rewards).values[dead].abs().max() < 1e-9


def test_recentred_groups_sum_to_zero() -> None:
    rewards = Rewards(random_binary(20, 8, 3), ["a", "b", "c"], 8)
    values = RVPO(dead_groups="recentre", whiten=False)(rewards).values
    assert values.reshape(20, 8).sum(dim=1).abs().max() < 1e-12


def test_risk_follows_its_ramp() -> None:
    rewards = Rewards(random_binary(4, 8, 3), ["a", "b", "c"], 8)
    estimator = RVPO(k=Ramp(start=0.5, end=2.0))
    for progress, k in ((0.0, 0.5), (0.5, 1.25), (1.0, 2.0)):
        advantages = estimator(rewards, progress)
        assert torch.equal(advantages.values, RVPO(k=k)(rewards).values)
        assert advantages.metrics["rvpo/k"] == k


@pytest.mark.parametrize("k", [-1.0, math.nan, Ramp(start=-1.0, end=2.0)])
def test_negative_risk_is_refused(k: float | Ramp) -> None:
    with pytest.raises(ValueError, match="k must be at least 0, got"):
        RVPO(k=k)
