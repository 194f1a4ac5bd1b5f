"""POW3R: GRPO's sum, in which a reward weighs more the more it tells siblings apart.

    g_j     = var_G r_j + eps
    alpha_j = clip( 1 - blend + blend g_j / (sum_l w_l g_l / sum_l w_l), low, high )
    s       = sum_j w_j alpha_j r_j / sum_j w_j alpha_j
    A       = (s - mean_G s) / (std_G s + eps)

Tyagi et al. 2026, arXiv:2605.20164. A criterion that all samples meet, or none, teaches nothing,
however important it is; the configured weights stay the prior. A factor is 1 where fewer than three
quarters of the group have the score.

Known from a summary of the paper: variance, smoothing, the ratio to the weighted mean, blend and
clip, the bound of three quarters, and that the reward is GRPO's. Not known: the constants (the
defaults here are ours) and the variance's divisor (here the number of scores, so that a verdict's
is p (1 - p)). Two things differ. The paper keeps a moving average of each criterion's factor from
one epoch to the next, of its prompt; this reads the factors of the step itself. The paper gives
every category of a rubric the same weight; here a row's rewards are one category.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from rvpo.advantage.aggregate import Aggregate, shares, weighted_mean
from rvpo.advantage.check import check_share
from rvpo.advantage.missing import Reading
from rvpo.advantage.score import ScoreEstimator
from rvpo.lazy import torch

if TYPE_CHECKING:
    from torch import Tensor

_ENOUGH = 0.75
"""Share of the group's scores without which a reward's variance is not believed."""


@dataclass(frozen=True, kw_only=True)
class POW3R(ScoreEstimator):
    """A = z-score in the group of sum_j p_j r_j, p weighed by contrast. arXiv:2605.20164.

    Raises:
        ValueError: blend, low or high is outside its range, or another setting is.
    """

    name: Literal["pow3r"] = "pow3r"
    whiten: bool = False
    """Scale the advantages of a step to mean 0 and standard deviation 1."""
    blend: float = 0.5
    """Share of contrast in a factor, 0 to 1: 0 leaves the weights as they are configured."""
    low: float = 0.25
    """Lowest factor, 0 to 1; above 0 no weighted reward is left out."""
    high: float = 4.0
    """Highest factor, at least 1."""

    def __post_init__(self) -> None:
        super().__post_init__()
        check_share("blend", self.blend)
        if not 0 < self.low <= 1:
            raise ValueError(f"low must lie in (0, 1], got {self.low}")
        if not 1 <= self.high < math.inf:
            raise ValueError(f"high must be a finite number of at least 1, got {self.high}")

    def weights(self, reading: Reading) -> Tensor:
        """See `WhitenedEstimator`."""
        weights, size = super().weights(reading), reading.rewards.group_size
        count = _counts(reading.rewards.valid, size)
        contrast = reading.scores.std.square() * (count - 1) / count.clamp(min=1) + self.eps
        taken = weights.any(dim=1, keepdim=True)
        mean = (shares(weights.where(taken, 1.0)) * contrast).sum(dim=1, keepdim=True)
        factor = (1 - self.blend + self.blend * contrast / mean).clamp(self.low, self.high)
        return weights * factor.where(count >= _ENOUGH * size, 1.0)

    def aggregate(self, values: Tensor, weights: Tensor, progress: float) -> Aggregate:
        """See `ScoreEstimator`."""
        return weighted_mean(values, weights)


def _counts(valid: Tensor, group_size: int) -> Tensor:
    """[N, M] float64: how many of the row's siblings, itself included, have the score."""
    grouped = valid.reshape(-1, group_size, valid.shape[1]).sum(dim=1, dtype=torch.float64)
    return grouped.repeat_interleave(group_size, dim=0)
