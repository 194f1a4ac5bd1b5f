"""MO-GRPO: standardise every reward in its group and add up, without whitening the sum.

    A = sum_j w_j (r_j - mean_G r_j) / (std_G r_j + eps)

Ichihara et al. 2025, arXiv:2509.22047. Each reward has the same variance in the sum, so that none
is neglected for its small unit, and rescaling a reward changes nothing. GDPO's sum before it is
whitened: here a group in which rewards agree moves the policy further than one in which they
cancel, by the same measure in every step. The paper has no weights (w = 1). What its std divides
by and its eps could not be read; they are those of the other estimators here.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from rvpo.advantage.aggregate import Aggregate, shares
from rvpo.advantage.zscore import ZScoreEstimator
from rvpo.lazy import torch

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True, kw_only=True)
class MOGRPO(ZScoreEstimator):
    """A = sum_j w_j Z_j over the row's own rewards, not whitened. arXiv:2509.22047."""

    name: Literal["mo_grpo"] = "mo_grpo"
    whiten: bool = False
    """Scale the advantages of a step to mean 0 and standard deviation 1, which makes it GDPO."""

    def aggregate(self, z: Tensor, weights: Tensor, progress: float) -> Aggregate:
        """See `ZScoreEstimator`."""
        values = (weights * z).sum(dim=1)
        return Aggregate(
            values=values, contribution=shares(weights), penalty=torch.zeros_like(values)
        )
