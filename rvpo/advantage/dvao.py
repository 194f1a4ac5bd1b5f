"""DVAO: a mean of z-scores in which a reward weighs by its spread in the group.

    A = sum_j p_j Z_j,   p_j = w_j (std_G r_j + eps) / sum_l w_l (std_G r_l + eps)
      = sum_j w_j (r_j - mean_G r_j) / sum_l w_l (std_G r_l + eps)

GRPO's centred sum over the sum of the spreads in place of the spread of the sum: rewards that go
against each other cancel, and what is left of them is not blown up to a standard deviation of 1. No
advantage is larger than the largest z-score of its row. A reward in a unit ten times larger weighs
ten times as much; `inputs: level` gives all of them one scale.

Jiang et al. 2026, arXiv:2605.25604: "dynamic variance-adaptive advantage optimization". Known from
notes of the paper: weights and sum, and that there is no whitening. It leaves open the kind of
standard deviation, eps and dead groups; here all are as for every estimator, unbiased, so that an
implementation with the population's standard deviation has advantages sqrt(G / (G - 1)) larger. The
row of a missing score takes the mean over the scores that it has.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from rvpo.advantage.aggregate import shares
from rvpo.advantage.missing import Reading
from rvpo.advantage.weighted_sum import WeightedSum

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True, kw_only=True)
class DVAO(WeightedSum):
    """A = sum_j w_j (r_j - mean_G r_j) / sum_j w_j (std_G r_j + eps). arXiv:2605.25604.

    Raises:
        ValueError: a setting is outside what it allows.
    """

    name: Literal["dvao"] = "dvao"
    scale: Literal["group"] = "group"
    """Divisor of what is compared within a group: the sum of its rewards' standard deviations, each
    with `eps`, which is the method."""
    whiten: bool = False
    """Scale the advantages of a step to mean 0 and standard deviation 1. The paper does not."""

    def weights(self, reading: Reading) -> Tensor:
        """See `WhitenedEstimator`."""
        return shares(super().weights(reading) * (reading.scores.std + self.eps))
