"""The mathematics of -(1/k) ln sum_j p_j exp(-k z_j), row by row."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from rvpo.advantage.aggregate import mean_and_variance
from rvpo.advantage.rvpo import soft_min, soft_min_weights

from .matrices import z_and_share

risk = st.floats(0.01, 20)


def row(*z: float) -> tuple[Tensor, Tensor]:
    values = torch.tensor([z], dtype=torch.double)
    return values, torch.full_like(values, 1 / len(z))


def test_value_computed_by_hand() -> None:
    z, p = row(0.0, math.log(3.0))  # (1 + 1/3) / 2 = 2/3
    assert soft_min(z, p, 1.0).item() == pytest.approx(math.log(1.5))
    torch.testing.assert_close(soft_min_weights(z, p, 1.0), torch.tensor([[0.75, 0.25]]).double())


def test_weights_computed_by_hand() -> None:
    z, _ = row(0.0, math.log(3.0))
    p = torch.tensor([[0.25, 0.75]], dtype=torch.double)  # 1/4 + 3/4 / 3 = 1/2
    assert soft_min(z, p, 1.0).item() == pytest.approx(math.log(2.0))


@given(z_and_share(), risk)
def test_equals_the_plain_formula(case: tuple[Tensor, Tensor], k: float) -> None:
    z, p = case
    plain = -torch.logsumexp(p.log() - k * z, dim=1) / k
    torch.testing.assert_close(soft_min(z, p, k), plain, rtol=1e-9, atol=1e-9)


@given(z_and_share())
def test_zero_risk_is_the_mean(case: tuple[Tensor, Tensor]) -> None:
    z, p = case
    mean = (p * z).sum(dim=1)
    torch.testing.assert_close(soft_min(z, p, 0.0), mean)
    for k in (1e-6, 1e-9, 1e-12):
        torch.testing.assert_close(soft_min(z, p, k), mean, rtol=0, atol=max(10 * k, 1e-12))


@given(z_and_share())
def test_infinite_risk_is_the_minimum(case: tuple[Tensor, Tensor]) -> None:
    z, p = case
    torch.testing.assert_close(soft_min(z, p, math.inf), z.amin(dim=1))
    torch.testing.assert_close(soft_min(z, p, 1e7), z.amin(dim=1), rtol=0, atol=1e-6)


def test_weights_of_infinite_risk_are_the_limit_also_where_rewards_tie() -> None:
    z = torch.tensor([[0.0, 1.0, 0.0, -1.0]], dtype=torch.double)
    p = torch.tensor([[0.1, 0.6, 0.3, 0.0]], dtype=torch.double)
    limit = torch.tensor([[0.25, 0.0, 0.75, 0.0]], dtype=torch.double)
    torch.testing.assert_close(soft_min_weights(z, p, math.inf), limit)
    torch.testing.assert_close(soft_min_weights(z, p, 1e3), limit)


@given(z_and_share(), risk)
def test_one_channel_is_itself(case: tuple[Tensor, Tensor], k: float) -> None:
    z = case[0][:, :1]
    torch.testing.assert_close(soft_min(z, torch.ones_like(z), k), z[:, 0])


@given(z_and_share(), risk, st.randoms())
def test_order_of_channels_does_not_matter(
    case: tuple[Tensor, Tensor], k: float, random: st.random_module
) -> None:
    z, p = case
    order = list(range(z.shape[1]))
    random.shuffle(order)
    torch.testing.assert_close(soft_min(z[:, order], p[:, order], k), soft_min(z, p, k))


@given(z_and_share(), risk)
def test_between_the_minimum_and_the_mean(case: tuple[Tensor, Tensor], k: float) -> None:
    z, _ = case
    p = torch.full_like(z, 1 / z.shape[1])
    value, low, mean = soft_min(z, p, k), z.amin(dim=1), z.mean(dim=1)
    tolerance = 1e-9
    assert (value >= low - tolerance).all()
    assert (value <= mean + tolerance).all()
    assert (value <= low + math.log(z.shape[1]) / k + tolerance).all()


@given(z_and_share(), risk)
def test_gap_to_the_mean_is_bounded(case: tuple[Tensor, Tensor], k: float) -> None:
    z, p = case
    spread = z.amax(dim=1) - z.amin(dim=1)
    gap = (p * z).sum(dim=1) - soft_min(z, p, k)
    assert (gap <= k * spread**2 / 8 + 1e-9).all()


@given(z_and_share(), risk)
def test_taylor_error_is_bounded(case: tuple[Tensor, Tensor], k: float) -> None:
    z, p = case
    mu, variance = mean_and_variance(z, p)
    spread = z.amax(dim=1) - z.amin(dim=1)
    error = (soft_min(z, p, k) - (mu - k / 2 * variance)).abs()
    assert (error <= k**2 * spread**3 / (36 * math.sqrt(3)) + 1e-9).all()


def test_mean_minus_variance_is_its_second_order() -> None:
    z, p = row(-1.0, 0.3, 2.0)
    mu, variance = mean_and_variance(z, p)
    errors = [(soft_min(z, p, k) - (mu - k / 2 * variance)).abs().item() for k in (2e-3, 1e-3)]
    assert errors[0] / errors[1] == pytest.approx(4, rel=0.02)


@given(z_and_share(), risk, st.floats(0, 3), st.integers(0, 7))
def test_monotone_in_every_channel(
    case: tuple[Tensor, Tensor], k: float, rise: float, channel: int
) -> None:
    z, p = case
    raised = z.clone()
    raised[0, channel % z.shape[1]] += rise
    assert (soft_min(raised, p, k) >= soft_min(z, p, k) - 1e-12).all()


@given(z_and_share(), risk)
def test_weights_are_the_gradient_and_sum_to_one(case: tuple[Tensor, Tensor], k: float) -> None:
    z, p = case
    leaf = z.clone().requires_grad_()
    reference = -torch.logsumexp(p.log() - k * leaf, dim=1) / k
    (gradient,) = torch.autograd.grad(reference.sum(), leaf)
    weights = soft_min_weights(z, p, k)
    torch.testing.assert_close(weights, gradient)
    torch.testing.assert_close(weights.sum(dim=1), torch.ones(1).double())


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_no_overflow_at_extreme_exponents(dtype: torch.dtype) -> None:
    z = torch.tensor([[-1e4, 0.0, 1e4], [1e4, 1e4, 1e4]], dtype=dtype)
    p = torch.full_like(z, 1 / 3)
    value = soft_min(z, p, 1.0)
    torch.testing.assert_close(value, torch.tensor([-1e4 + math.log(3), 1e4], dtype=dtype))
    assert torch.isfinite(soft_min_weights(z, p, 1.0)).all()


def test_channel_without_share_takes_no_part() -> None:
    z = torch.tensor([[-1e4, 0.5, 1.0]], dtype=torch.double)
    p = torch.tensor([[0.0, 0.5, 0.5]], dtype=torch.double)
    for k in (0.0, 1e-9, 1.0, 1e4, math.inf):
        torch.testing.assert_close(soft_min(z, p, k), soft_min(z[:, 1:], p[:, 1:], k))
        assert soft_min_weights(z, p, k)[0, 0] == 0
