"""CorrGRPO: GRPO's sum, divided by how far the rewards go together and not by their spread.

    A = sum_j w_j (r_j - mean_G r_j) / sqrt( max(0, sum_j sum_l rho_jl) + eps )

rho_jl is Pearson's correlation of two rewards over the group, 0 where one of them is constant. The
variance of GRPO's total is the sum of all covariances; here each is divided by the two standard
deviations, so that a reward in large units does not decide the divisor alone. M rewards without
correlation have a divisor of sqrt(M), M that agree have M. Rewards that oppose each other have one
near 0, and get large advantages: two that are exact opposites are divided by sqrt(eps). The sum
keeps the units of the rewards.

Hu et al. 2026, arXiv:2609.36820. Known from its public repository: the equation, the unbiased
covariance, eps under the root, and that there is no whitening. The paper's text could not be read.
A missing score counts as its reward's group mean, in the sum and in the correlations: an inference,
for the paper has none.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from rvpo.advantage.missing import Reading
from rvpo.advantage.weighted_sum import WeightedSum

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True, kw_only=True)
class CorrGRPO(WeightedSum):
    """A = sum_j w_j (r_j - mean_G r_j) / sqrt(sum_jl rho_jl + eps), rho the correlations of the
    rewards in the group. arXiv:2609.36820.

    Raises:
        ValueError: a setting is outside what it allows.
    """

    name: Literal["corr_grpo"] = "corr_grpo"
    eps: float = 1e-4
    """Added to standard deviations, and to the sum of correlations under the root."""
    scale: Literal["group"] = "group"
    """Divisor of what is compared within a group: the root of the sum of correlations, which is the
    method."""
    whiten: bool = False
    """Scale the advantages of a step to mean 0 and standard deviation 1. The paper does not."""

    def weights(self, reading: Reading) -> Tensor:
        """See `WhitenedEstimator`."""
        weights = super().weights(reading)
        # Times Z it is the centred score again.
        spread = weights * (reading.scores.std + self.eps)
        return spread / self._divisor(reading, weights)[:, None]

    def _divisor(self, reading: Reading, weights: Tensor) -> Tensor:
        """[N], one value for each group."""
        size = reading.rewards.group_size
        z = reading.scores.z.where(weights > 0, 0.0).reshape(-1, size, weights.shape[1])
        length = z.square().sum(dim=1, keepdim=True).sqrt()
        direction = z / length.where(length > 0, 1.0)
        # The squared length of a sum of unit vectors is the sum of all their products.
        correlations = direction.sum(dim=2).square().sum(dim=1)
        return (correlations + self.eps).sqrt().repeat_interleave(size)
