"""Soft minima of scores: combine the scores of a row, then compare it in its group."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from rvpo.advantage.aggregate import Aggregate
from rvpo.advantage.check import check_risk
from rvpo.advantage.rvpo import aggregate_soft_min
from rvpo.advantage.score import ScoreEstimator
from rvpo.schedule import Ramp, value_at

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True, kw_only=True)
class ScoreSoftMin(ScoreEstimator):
    """A = compared in the group: -(1/k) ln sum_j p_j exp(-k r_j), p = w / sum w.

    Raises:
        ValueError: k is negative or NaN, or another setting is outside what it allows.
    """

    k: float | Ramp = 1.0
    """Risk coefficient, in units of 1/score: 0 is the mean, `.inf` the minimum."""

    def __post_init__(self) -> None:
        super().__post_init__()
        check_risk(self.k)

    def aggregate(self, values: Tensor, weights: Tensor, progress: float) -> Aggregate:
        """See `ScoreEstimator`."""
        return aggregate_soft_min(values, weights, value_at(self.k, progress))
