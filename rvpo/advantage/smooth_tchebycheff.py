"""Smooth Tchebycheff: what a sample lacks of the ideal, the largest shortfall foremost.

    s = -mu ln sum_j exp( w_j (z*_j - r_j) / mu )
    A = (s - mean_G s) / (std_G s + eps),   whitened over the batch

Lin et al. 2024, arXiv:2402.19078, with the signs of rewards in place of losses. mu to 0 is the
Tchebycheff scalarisation, -max_j w_j (z*_j - r_j), which reaches any Pareto-optimal trade-off by
its weights, where a weighted sum reaches convex ones alone. The weights stand within the maximum:
they are units of shortfall, and twice the weight asks for half of it.

The paper's ideal point z* is the best each objective can attain, and known beforehand. This reads
the best score of each reward in the group. The paper's weights sum to 1; here they are as
configured, which is another unit of mu. The group's z-score and the whitening are those of the
other estimators here: the paper has no policy gradient.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from rvpo.advantage.aggregate import Aggregate, shares
from rvpo.advantage.missing import Reading
from rvpo.advantage.score import ScoreEstimator
from rvpo.lazy import torch

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True, kw_only=True)
class SmoothTchebycheff(ScoreEstimator):
    """A = compared in the group: -mu ln sum_j exp(w_j (z*_j - r_j) / mu). arXiv:2402.19078.

    Raises:
        ValueError: mu is not a finite number above 0, or another setting is outside what it allows.
    """

    name: Literal["smooth_tchebycheff"] = "smooth_tchebycheff"
    mu: float = 0.25
    """Smoothness, in units of a weighted score: towards 0 the largest shortfall counts alone. Ours;
    the paper's range is problem by problem."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if not 0 < self.mu < math.inf:
            raise ValueError(f"mu must be a finite number above 0, got {self.mu}")

    def values(self, reading: Reading) -> Tensor:
        """[N, M] r - z*, at most 0."""
        size, scores = reading.rewards.group_size, reading.values
        told = scores.where(reading.rewards.valid, -torch.inf)
        best = told.reshape(-1, size, scores.shape[1]).amax(dim=1).repeat_interleave(size, dim=0)
        return (scores - best).where(reading.scores.comparable, 0.0)

    def aggregate(self, values: Tensor, weights: Tensor, progress: float) -> Aggregate:
        """See `ScoreEstimator`.

        Args:
            values: [R, M] r - z*.
            weights: [R, M].
            progress: not used.
        """
        taken = weights > 0
        shortfall = -weights * values
        exponents = (shortfall / self.mu).where(taken, -torch.inf)
        combined = -self.mu * torch.logsumexp(exponents, dim=1)
        mean = (shares(taken.double()) * -shortfall).sum(dim=1)
        return Aggregate(
            values=combined,
            contribution=shares(weights * torch.softmax(exponents, dim=1)),
            penalty=mean - combined,
        )
