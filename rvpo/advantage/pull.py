"""What the advantages of a step move: the pull of each reward.

A policy gradient raises a reward by how its scores and the advantages go together. With the
deviations of both from their mean over the siblings, d of the score and a of the advantage,

    pull_j = sum_i a_i d_ij / sqrt(n_j sum_i d_ij^2)        over the n_j trained rows with a score

which is the slope of the advantage on the score, times the score's standard deviation: what the
advantage pays for a usual difference. Of a verdict that a share p meets in each group it is
(mean A of those who meet it - mean A of the rest) sqrt(p (1 - p)). Reported is the share
pull_j / sum_l |pull_l| over the weighted rewards.

The gradient weight dA/dZ_j is another matter: its mean over rows misses that the rows with a rare
success, which alone move it, may have another weight than most.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from rvpo.lazy import torch
from rvpo.types import Rewards

if TYPE_CHECKING:
    from torch import Tensor

_ROUNDING: Final = 1e-12
"""Rounding error of a pull in float64, relative to the largest advantage or to 1."""


def pulls(rewards: Rewards, advantages: Tensor, trained: Tensor) -> Tensor:
    """Part of each score in the pulls: a reward's pull is the sum of its column.

    Args:
        rewards: the matrix of the step.
        advantages: [N].
        trained: [N] bool.

    Returns:
        [N, M] float64; the absolute sums of its columns add up to 1, or all is 0 where the
        advantages move nothing. Rewards of weight 0 have none.
    """
    told = rewards.weighted & trained[:, None]
    values = rewards.values.double()
    d = _deviation(values, told, rewards.group_size)
    a = _deviation(advantages.double()[:, None].expand_as(values), told, rewards.group_size)
    count = told.sum(dim=0)
    spread = (count * d.square().sum(dim=0)).sqrt()  # [M]
    parts = (a * d / spread).where(spread > 0, 0.0)
    total = float(parts.sum(dim=0).abs().sum())
    rounding = _ROUNDING * max([1.0, *advantages.abs().tolist()])
    return parts / total if total > rounding else torch.zeros_like(parts)


def _deviation(values: Tensor, told: Tensor, group_size: int) -> Tensor:
    """[N, M] from the mean of the siblings that are told, 0 for the others."""
    grouped = (len(values) // group_size, group_size, values.shape[1])  # P, G, M
    values, told = values.reshape(grouped), told.reshape(grouped)
    count = told.sum(dim=1, keepdim=True).clamp(min=1)
    mean = values.where(told, 0.0).sum(dim=1, keepdim=True) / count
    deviation = (values - mean).where(told, 0.0)
    # A constant column has no deviation, where rounding would leave some.
    lowest = values.where(told, torch.inf).amin(dim=1, keepdim=True)
    highest = values.where(told, -torch.inf).amax(dim=1, keepdim=True)
    return deviation.where(lowest < highest, 0.0).reshape(-1, grouped[2])
