from __future__ import annotations

import math

import pytest
import torch

from rvpo.advantage import GDPO, RVPO, MeanVariance
from rvpo.types import Rewards

from .matrices import matrix, random_binary


def test_hand_computed_pair() -> None:
    # z of row 0 is (-1, 1) / sqrt 2: mean 0, variance 1/2.
    values = MeanVariance(beta=0.5, whiten=False, eps=1e-12)(matrix([[0, 1], [1, 0]], 2)).values
    torch.testing.assert_close(values, torch.tensor([-0.25, -0.25]).double())


def test_half_of_k_matches_rvpo_to_second_order() -> None:
    rewards = Rewards(random_binary(5, 8, 4), list("abcd"), 8)
    errors = [
        (
            RVPO(k=k, whiten=False)(rewards).values
            - MeanVariance(beta=k / 2, whiten=False)(rewards).values
        ).abs()
        for k in (0.01, 0.005)
    ]
    assert (errors[0].max() / errors[1].max()).item() == pytest.approx(4, rel=0.05)


def test_no_penalty_is_gdpo_up_to_scale() -> None:
    rewards = Rewards(random_binary(5, 8, 4), list("abcd"), 8)
    values = MeanVariance(beta=0.0, whiten=False)(rewards).values
    torch.testing.assert_close(4 * values, GDPO(whiten=False)(rewards).values)


def test_punishes_a_reward_far_above_the_others() -> None:
    # Z_j - mu > 1 / (2 beta): raising the best reward lowers the advantage. RVPO never does that.
    z = torch.tensor([[0.0, 2.0], [0.0, 3.0]], dtype=torch.double)
    explicit = MeanVariance(beta=1.0).aggregate(z, torch.ones_like(z), 0.0)
    assert explicit.values[1] < explicit.values[0]
    assert (explicit.contribution[:, 1] < 0).all()
    soft = RVPO(k=2.0).aggregate(z, torch.ones_like(z), 0.0)
    assert soft.values[1] > soft.values[0]


@pytest.mark.parametrize("beta", [-0.1, math.inf, math.nan])
def test_impossible_beta_is_refused(beta: float) -> None:
    with pytest.raises(ValueError, match="beta must be a finite number of at least 0, got"):
        MeanVariance(beta=beta)
