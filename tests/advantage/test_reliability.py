"""Noisy scores are shrunk by one equation, whatever the estimator, and sure ones not at all."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from rvpo.advantage import GD2PO, GDPO, GRPO, RDPO, RVPO, HardMin, LevelMin, MeanVariance, RawRVPO
from rvpo.agreement import NOISY
from rvpo.types import Rewards
from tests.advantage.matrices import ALL, label, matrix, random_binary, rows

Rows = tuple[list[list[float | None]], int]

every = pytest.mark.parametrize("estimator", ALL, ids=label)


def relied(rewards: Rewards, *reliability: float) -> Rewards:
    return replace(rewards, reliability=torch.tensor(reliability, dtype=torch.double))


def weighing(estimator: Any, **settings: Any) -> Any:
    return replace(estimator, weight_by_reliability=True, **settings)


@every
@settings(deadline=None, max_examples=15)
@given(case=rows(missing=True), seed=st.integers(0, 99))
def test_left_out_it_changes_nothing_and_where_all_is_sure_nothing_either(
    estimator: Any, case: Rows, seed: int
) -> None:
    plain = matrix(*case)
    expected = estimator(plain)
    some = torch.rand(plain.values.shape, generator=torch.Generator().manual_seed(seed)).double()
    for found in (
        estimator(replace(plain, reliability=some)),
        weighing(estimator)(replace(plain, reliability=torch.ones_like(some))),
    ):
        assert found.values.equal(expected.values)
        assert found.z.equal(expected.z)
        known = {name: x for name, x in found.metrics.items() if "/noisy_" not in name}
        assert known == dict(expected.metrics)


@pytest.mark.parametrize(
    "estimator",
    [each for each in ALL if not isinstance(each, LevelMin)],  # whose levels are shrunk
    ids=label,
)
@settings(deadline=None, max_examples=15)
@given(case=rows(), rho=st.lists(st.floats(0, 1), min_size=4, max_size=4))
def test_shrunk_scores_are_aggregated_as_if_they_had_been_given(
    estimator: Any, case: Rows, rho: list[float]
) -> None:
    """By plain numpy: the estimator is linear algebra after m + rho (r - m)."""
    plain = matrix(*case)
    given_ = relied(plain, *rho[: len(plain.names)])
    found = weighing(estimator)(given_)
    values = plain.values.numpy().reshape(-1, plain.group_size, len(plain.names))
    mean = values.mean(axis=1, keepdims=True)
    shrunk = mean + np.array(rho[: len(plain.names)]) * (values - mean)
    if isinstance(estimator, GRPO | RawRVPO):
        again = replace(plain, values=torch.tensor(shrunk.reshape(plain.values.shape)))
        assert found.values.numpy() == pytest.approx(estimator(again).values.numpy(), abs=1e-4)
    else:
        spread = values.std(axis=1, ddof=1, keepdims=True) + estimator.eps
        z = ((shrunk - mean) / spread).reshape(plain.values.shape)
        assert found.z.numpy() == pytest.approx(z, abs=1e-9)


@pytest.mark.parametrize("estimator", [GDPO(), HardMin(), RVPO(), MeanVariance()], ids=label)
def test_a_shrunk_channel_pulls_by_rho_z(estimator: Any) -> None:
    rewards = relied(Rewards(random_binary(6, 8, 3), ["a", "b", "c"], 8), 1.0, 0.4, 0.0)
    unwhitened = replace(estimator, whiten=False)
    z = unwhitened(rewards).z * torch.tensor([1.0, 0.4, 0.0])
    found = weighing(unwhitened)(rewards)
    torch.testing.assert_close(found.z, z)
    match estimator:
        case GDPO():
            expected = z.sum(dim=1)
        case HardMin():
            expected = z.amin(dim=1)
        case RVPO():
            expected = -torch.log(torch.exp(-z).mean(dim=1))
        case MeanVariance():
            expected = z.mean(dim=1) - 0.5 * z.var(dim=1, correction=0)
    torch.testing.assert_close(found.values, expected)


@pytest.mark.parametrize("kind", [RVPO, MeanVariance, HardMin])
@pytest.mark.parametrize("dead", ["keep", "mask"])
def test_a_channel_of_nothing_but_noise_is_as_a_constant_one(kind: Any, dead: Any) -> None:
    live = random_binary(5, 6, 1)
    noise = random_binary(5, 6, 1, seed=3)
    estimator = kind(dead_channels=dead)
    noisy = relied(Rewards(torch.cat([live, noise], dim=1), ["a", "b"], 6), 1.0, 0.0)
    constant = Rewards(torch.cat([live, torch.ones_like(live)], dim=1), ["a", "b"], 6)
    found = weighing(estimator)(noisy)
    torch.testing.assert_close(found.values, estimator(constant).values)
    assert found.metrics["rewards/b/zero_std_frac"] < 1  # of the scores as they came


@pytest.mark.parametrize("groups", ["keep", "mask"])
def test_a_group_that_noise_alone_tells_apart_is_dead(groups: Any) -> None:
    noise = random_binary(4, 8, 1)
    found = weighing(RVPO(dead_groups=groups))(relied(Rewards(noise, ["a"], 8), 0.0))
    assert found.metrics["advantage/dead_group_frac"] == 1
    assert found.values.eq(0).all()


@every
def test_all_being_noise_gives_no_gradient_and_no_nan(estimator: Any) -> None:
    rewards = relied(Rewards(random_binary(4, 8, 2), ["a", "b"], 8), 0.0, 0.0)
    found = weighing(estimator)(rewards)
    assert found.values.eq(0).all()
    assert all(np.isfinite(value) for value in found.metrics.values())


@every
def test_it_is_refused_where_nobody_knows_the_reliability(estimator: Any) -> None:
    with pytest.raises(ValueError, match="weight_by_reliability needs the reliability of each"):
        weighing(estimator)(Rewards(random_binary(2, 4, 2), ["a", "b"], 4))


@pytest.mark.parametrize(
    "estimator",
    [  # the others see all groups
        each
        for each in ALL
        if getattr(each, "over", "group") == "group" and not isinstance(each, RDPO)
    ],
    ids=label,
)
def test_prompts_may_have_criteria_of_different_reliability(estimator: Any) -> None:
    values = random_binary(2, 6, 2, seed=5)
    apart = torch.tensor([[1.0, 0.3]] * 6 + [[0.3, 1.0]] * 6, dtype=torch.double)
    rewards = Rewards(values, ["a", "b"], 6, reliability=apart)
    settings = {} if isinstance(estimator, GRPO) else {"whiten": False}
    found = weighing(estimator, **settings)
    halves = [
        found(Rewards(values[part], ["a", "b"], 6, reliability=apart[part])).values
        for part in (slice(6), slice(6, None))
    ]
    torch.testing.assert_close(found(rewards).values, torch.cat(halves))


def test_the_weight_of_a_reward_is_what_is_left_of_it() -> None:
    rewards = relied(Rewards(random_binary(4, 8, 2), ["a", "b"], 8), 1.0, 0.25)
    metrics = weighing(GDPO())(rewards).metrics
    assert metrics["advantage/weight/a"] == pytest.approx(0.5)
    assert metrics["advantage/weight/b"] == pytest.approx(0.125)


def test_a_soft_minimum_that_follows_noise_is_told_of_and_shrinking_helps() -> None:
    values = random_binary(40, 8, 3, seed=2)
    rewards = relied(Rewards(values, ["a", "b", "coin"], 8), 1.0, 1.0, NOISY / 10)
    plain, shrunk = RVPO(k=5.0)(rewards).metrics, weighing(RVPO(k=5.0))(rewards).metrics
    assert plain["advantage/noisy_bottleneck"] == plain["advantage/bottleneck/coin"] > 0.25
    assert plain["advantage/noisy_weight"] == plain["advantage/weight/coin"] > 0.25
    assert shrunk["advantage/noisy_bottleneck"] < 0.75 * plain["advantage/noisy_bottleneck"]
    assert shrunk["advantage/noisy_weight"] < 0.1
    sure = relied(Rewards(values, ["a", "b", "coin"], 8), 1.0, 1.0, NOISY)
    assert RVPO()(sure).metrics["advantage/noisy_bottleneck"] == 0
    assert "advantage/noisy_bottleneck" not in RVPO()(replace(sure, reliability=None)).metrics


@pytest.mark.parametrize("wrong", [[0.5, 1.5], [-0.1, 1.0], [float("nan"), 1.0]])
def test_a_reliability_that_is_none_is_refused(wrong: list[float]) -> None:
    with pytest.raises(ValueError, match="reliability must lie between 0 and 1"):
        relied(Rewards(torch.zeros(4, 2), ["a", "b"], 2), *wrong)


def test_a_reliability_of_another_shape_is_refused() -> None:
    with pytest.raises(
        ValueError, match=r"reliability has shape \[3\]; expected \[2\] or \[4, 2\]"
    ):
        relied(Rewards(torch.zeros(4, 2), ["a", "b"], 2), 1.0, 1.0, 1.0)


@pytest.mark.parametrize(
    "estimator",
    [each for each in ALL if not isinstance(each, GD2PO)],  # it drops by signs, which noise keeps
    ids=label,
)
def test_advantages_come_nearer_to_those_of_a_judge_without_noise(estimator: Any) -> None:
    chance = torch.Generator().manual_seed(0)
    apart = torch.tensor([0.45, 0.45, 0.1, 0.05], dtype=torch.double)  # of chances from a half
    side = (torch.rand(3200, 4, generator=chance) < 0.5).double() * 2 - 1
    settled = 0.5 + side * apart
    verdicts = (torch.rand(3200, 4, generator=chance).double() < settled).double()
    rho = (4 * apart.square()).tolist()
    wanted = estimator(Rewards(settled, "abcd", 8)).values

    def nearness(values: torch.Tensor) -> float:
        return torch.corrcoef(torch.stack([values, wanted]))[0, 1].item()

    plain = Rewards(verdicts, "abcd", 8)
    before, after = estimator(plain).values, weighing(estimator)(relied(plain, *rho)).values
    assert nearness(after) > nearness(before) + 0.05
