"""Hard minimum: every sample is worth its worst reward.

    A = min_j Z_j,   whitened over the batch

The limit of RVPO (arXiv:2605.05750) as k goes to infinity, and one of its ablations.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from rvpo.advantage.aggregate import Aggregate, lowest, mean_and_variance, shares
from rvpo.advantage.zscore import ZScoreEstimator

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True, kw_only=True)
class HardMin(ZScoreEstimator):
    """A = min_j Z_j over the row's own rewards of weight above 0. arXiv:2605.05750, k = infinity.

    A weight decides only whether its reward takes part, and in the diagnostics what part of a tie
    for the minimum is its own, as in RVPO's limit.
    """

    name: Literal["hard_min"] = "hard_min"

    def aggregate(self, z: Tensor, weights: Tensor, progress: float) -> Aggregate:
        values, holders = lowest(z, weights)
        mu, _ = mean_and_variance(z, shares(weights))
        return Aggregate(values=values, contribution=holders, penalty=mu - values)
