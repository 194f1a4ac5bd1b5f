"""Statistics of scores within their groups, and of advantages over the batch.

Masks of a step's scores, each called by one word in every module of this package:

    valid       [N, M]  the row has the score (`Rewards.valid`)
    weighted    [N, M]  valid, and of weight above 0 (`Rewards.weighted`)
    comparable  [N, M]  at least two of the row's siblings, itself included, have this score
    constant    [N, M]  comparable, and all scores of the group are exactly equal
    usable      [N, M]  weighted and comparable: it tells how the row does among its siblings
    counted     [N, M]  the row's aggregate runs over this channel; `missing` and `dead_channels`
                        decide
    trained     [N]     the row takes part in whitening and in the loss

A channel that is constant in a group, or known to be nothing but noise where reliability weighs,
and a group in which all usable channels are so, is called dead in settings and metrics.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from rvpo.lazy import torch

if TYPE_CHECKING:
    from torch import Tensor

_ROUNDING = 1e-12
"""Rounding error of a mean in float64 over the samples of a step, relative to the largest or to
1."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class GroupScores:
    """Scores compared with those of their siblings, channel by channel, in float64."""

    comparable: Tensor  # [N, M] bool
    constant: Tensor  # [N, M] bool
    mean: Tensor  # [N, M] of the group's scores, 0 where there is none
    std: Tensor  # [N, M] unbiased, 0 where constant or not comparable
    centred: Tensor  # [N, M] score - mean, 0 where not valid, constant or not comparable
    z: Tensor  # [N, M] centred / (std + eps), or centred alone; times the reliability
    reliability: Tensor | None = None  # [N, M] by which z is shrunk; None leaves it as it is

    @property
    def dead(self) -> Tensor:
        """[N, M] bool: constant, or shrunk to nothing."""
        if self.reliability is None:
            return self.constant
        return self.constant | (self.comparable & (self.reliability == 0))

    def shrunk(self, reliability: Tensor) -> GroupScores:
        """The scores as far as they are no noise: the z-scores of mean + reliability centred, where
        mean and std stay those of the scores as they were given."""
        return replace(self, z=self.z * reliability, reliability=reliability)


def standardise(
    values: Tensor, valid: Tensor, group_size: int, eps: float, by_std: bool = True
) -> GroupScores:
    """The group z-score of every valid score.

        Z_ij = (r_ij - mean_G r_j) / (std_G r_j + eps)          GDPO, arXiv:2601.05242, eq. 4

    The statistics run over the valid scores alone and divide by their number - 1. Equality is
    exact: a constant channel gives exactly 0, where rounding divided by eps would not.

    Args:
        values: [N, M] scores, siblings adjacent.
        valid: [N, M] bool; other scores do not exist.
        group_size: G.
        eps: added to the standard deviation.
        by_std: divide by it; if not, `z` is `centred`.
    """
    grouped = (values.shape[0] // group_size, group_size, values.shape[1])  # P, G, M
    scores = values.double().reshape(grouped)
    valid = valid.reshape(grouped)
    count = valid.sum(dim=1, keepdim=True)
    mean = scores.where(valid, 0.0).sum(dim=1, keepdim=True) / count.clamp(min=1)
    deviation = (scores - mean).where(valid, 0.0)
    variance = deviation.square().sum(dim=1, keepdim=True) / (count - 1).clamp(min=1)

    comparable = count >= 2
    lowest = scores.where(valid, torch.inf).amin(dim=1, keepdim=True)
    highest = scores.where(valid, -torch.inf).amax(dim=1, keepdim=True)
    constant = comparable & (lowest == highest)
    std = variance.sqrt().where(comparable & ~constant, 0.0)
    centred = deviation.where(comparable & ~constant, 0.0)

    def rows(statistic: Tensor) -> Tensor:
        return statistic.expand(grouped).reshape(values.shape)

    return GroupScores(
        comparable=rows(comparable),
        constant=rows(constant),
        mean=rows(mean),
        std=rows(std),
        centred=rows(centred),
        z=rows(centred / (std + eps) if by_std else centred),
    )


def in_dead_group(scores: GroupScores, usable: Tensor, group_size: int) -> Tensor:
    """[N] bool: no usable channel of the row's group tells its samples apart."""
    telling = (usable & ~scores.dead).any(dim=1).reshape(-1, group_size)
    return ~telling.any(dim=1).repeat_interleave(group_size)


def recentre(values: Tensor, group: Tensor) -> Tensor:
    """Subtract each group's mean.

    Args:
        values: [R], any rows.
        group: [R] int, the group of each.
    """
    groups = int(group.max()) + 1 if group.numel() else 0
    total = values.new_zeros(groups).index_add(0, group, values)
    return values - (total / torch.bincount(group, minlength=groups))[group]


def whiten(values: Tensor, eps: float) -> Tensor:
    """Mean 0 and unbiased standard deviation 1 over the batch, every response counting once.

        (A - mean A) / (std A + eps)                            GDPO, arXiv:2601.05242, eq. 6

    Args:
        values: [R]; fewer than two, or all exactly equal, give exactly 0, as does one that differs
            from the mean by rounding: its sign would say which side of a clip it is on.
        eps: added to the standard deviation.
    """
    if values.numel() < 2 or bool(values.min() == values.max()):
        return torch.zeros_like(values)
    centred = values - values.mean()
    rounding = _ROUNDING * max(1.0, float(values.abs().max()))
    return centred.where(centred.abs() > rounding, 0.0) / (values.std() + eps)
