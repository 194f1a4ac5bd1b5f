"""Mean minus variance: RVPO's second-order expansion, used as it stands.

    A = mu - beta sigma^2,   whitened over the batch

mu and sigma^2 are the weighted mean and population variance of Z across the rewards of one sample.
The explicit form that RVPO (arXiv:2605.05750) starts from and replaces; beta = k/2. Unlike the soft
minimum it is not monotone: a reward with Z_j - mu > 1/(2 beta) is punished for rising further.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from rvpo.advantage.aggregate import Aggregate, mean_and_variance, shares
from rvpo.advantage.zscore import ZScoreEstimator

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True, kw_only=True)
class MeanVariance(ZScoreEstimator):
    """A = mu - beta sigma^2 over the row's own rewards. arXiv:2605.05750, explicit form.

    Raises:
        ValueError: beta is negative or not finite, or another setting is outside what it allows.
    """

    name: Literal["mean_variance"] = "mean_variance"
    beta: float = 0.5
    """Weight of the variance; 0.5 matches RVPO's k = 1 to second order."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if not 0 <= self.beta < math.inf:
            raise ValueError(f"beta must be a finite number of at least 0, got {self.beta}")

    def aggregate(self, z: Tensor, weights: Tensor, progress: float) -> Aggregate:
        p = shares(weights)
        mu, variance = mean_and_variance(z, p)
        penalty = self.beta * variance
        return Aggregate(
            values=mu - penalty,
            contribution=p * (1 - 2 * self.beta * (z - mu[:, None])),
            penalty=penalty,
        )
