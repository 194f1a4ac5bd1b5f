"""The flow of GDPO and of those that weigh its terms anew: z-score, weigh, add up, whiten."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from rvpo.advantage.aggregate import Aggregate, shares
from rvpo.advantage.zscore import ZScoreEstimator
from rvpo.lazy import torch
from rvpo.types import Rewards

if TYPE_CHECKING:
    from torch import Tensor

Over = Literal["step", "group"]
"""Samples that a statistic is of."""


@dataclass(frozen=True, kw_only=True)
class WeightedSum(ZScoreEstimator):
    """A = sum_j v_j Z_j over the row's own rewards, v_j the configured weight or what `weights`
    makes of it. Where v has no weight above 0 in a row, nothing moves it.

    Raises:
        ValueError: a setting is outside what it allows.
    """

    def aggregate(self, z: Tensor, weights: Tensor, progress: float) -> Aggregate:
        values = (weights * z).sum(dim=1)
        return Aggregate(
            values=values, contribution=shares(weights), penalty=torch.zeros_like(values)
        )


def adjacent(rewards: Rewards, over: Over) -> int:
    """Number of adjacent rows that a statistic is of."""
    return rewards.group_size if over == "group" else max(1, len(rewards.values))
