"""Pulls: how far the advantages of a step move each reward.

A policy gradient raises a reward by how its scores and the advantages go together. With d the
deviation of a score from the mean of its siblings, R the trained rows and n_j those with a score,

    pull_j = sum_i A_i d_ij / (R s_j)        s_j^2 = sum_i d_ij^2 / n_j

which is the slope of the advantage on the score, times the score's standard deviation, times the
share of the rows that have it: what the advantage pays for a usual difference. Of a verdict that
all rows have and a share p of each group meets, it is

    (mean A of those who meet it - mean A of the rest) sqrt(p (1 - p))

Reported is the share pull_j / sum_l |pull_l| over the weighted rewards. Of a rubric whose criteria
come with the prompt a column is only a place, so that s is that of all scores of the same aspects.

The gradient weight dA/dZ_j is another matter: its mean over rows misses that the rows with a rare
success, which alone move it, may have another weight than most.

Ours; of independent verdicts the slopes are the coefficients of E[A grad log pi] in the gradients
of their rates.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Final

from rvpo.lazy import torch
from rvpo.types import Rewards

if TYPE_CHECKING:
    from torch import Tensor

_ROUNDING: Final = 1e-12
"""Rounding error of a pull in float64, relative to the largest advantage or to 1."""


def pulls(
    rewards: Rewards,
    advantages: Tensor,
    trained: Tensor,
    aspects: Mapping[str, Tensor] | None = None,
) -> Tensor:
    """Part of each score in the pulls: a reward's pull is the sum of its column, and an aspect's
    the sum of its scores.

    Args:
        rewards: the matrix of the step.
        advantages: [N].
        trained: [N] bool.
        aspects: [N, M] bool masks by name: scores of the same aspects are of one kind, whatever
            their columns, and share their standard deviation. None for the columns.

    Returns:
        [N, M] float64; the absolute sums of its kinds add up to 1, or all is 0 where the advantages
        move nothing. Rewards of weight 0 have none.
    """
    told = rewards.weighted & trained[:, None]
    values = rewards.values.double()
    kinds = _kinds(rewards, aspects or {})
    d = _deviation(values, told, rewards.group_size)
    a = _deviation(advantages.double()[:, None].expand_as(values), told, rewards.group_size)
    spread = (_sums(d.square(), kinds) / _sums(told.double(), kinds).clamp(min=1)).sqrt()[kinds]
    parts = (a * d / spread).where(spread > 0, 0.0)
    total = float(_sums(parts, kinds).abs().sum())
    rounding = _ROUNDING * max([1.0, *advantages.abs().tolist()])
    return parts / total if total > rounding else torch.zeros_like(parts)


def pull_by_aspect(
    rewards: Rewards, advantages: Tensor, trained: Tensor, aspects: Mapping[str, Tensor]
) -> dict[str, float]:
    """The pull of each aspect that carries weight; nothing where the advantages move nothing.

    Args:
        rewards: the matrix of the step.
        advantages: [N].
        trained: [N] bool.
        aspects: [N, M] bool masks by name.
    """
    parts = pulls(rewards, advantages, trained, aspects)
    if not bool(parts.any()):
        return {}
    return {
        name: parts.where(mask, 0.0).sum().item()
        for name, mask in aspects.items()
        if bool((mask & rewards.weighted).any())
    }


def _kinds(rewards: Rewards, aspects: Mapping[str, Tensor]) -> Tensor:
    """[N, M] int, the same for scores of the same aspects; of none, for those of a column."""
    size, (samples, columns) = rewards.group_size, rewards.values.shape
    place = torch.arange(columns).expand(samples // size, columns)  # [P, M]
    if not aspects:
        return place.repeat_interleave(size, dim=0)
    within = torch.stack([mask[::size] for mask in aspects.values()], dim=2)  # [P, M, aspects]
    alone = place.where(~within.any(dim=2), -1)
    keys = torch.cat([within.long(), alone[:, :, None]], dim=2).flatten(0, 1)
    kinds: Tensor = torch.unique(keys, dim=0, return_inverse=True)[1]
    return kinds.reshape(place.shape).repeat_interleave(size, dim=0)


def _sums(values: Tensor, kinds: Tensor) -> Tensor:
    """[K] sums, one for each kind."""
    count = int(kinds.max()) + 1 if kinds.numel() else 0
    return values.new_zeros(count).index_add(0, kinds.flatten(), values.flatten())


def _deviation(values: Tensor, told: Tensor, group_size: int) -> Tensor:
    """[N, M] distances from the mean of the siblings that are told, 0 for the others."""
    grouped = (len(values) // group_size, group_size, values.shape[1])  # P, G, M
    values, told = values.reshape(grouped), told.reshape(grouped)
    count = told.sum(dim=1, keepdim=True).clamp(min=1)
    mean = values.where(told, 0.0).sum(dim=1, keepdim=True) / count
    deviation = (values - mean).where(told, 0.0)
    # A constant column has no deviation, where rounding would leave some.
    lowest = values.where(told, torch.inf).amin(dim=1, keepdim=True)
    highest = values.where(told, -torch.inf).amax(dim=1, keepdim=True)
    return deviation.where(lowest < highest, 0.0).reshape(-1, grouped[2])
