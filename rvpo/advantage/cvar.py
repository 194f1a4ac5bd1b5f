"""CVaR over rewards: the mean of a sample's worst rewards.

    A = (1/alpha) sum_j q_j Z_j,   whitened over the batch
    q_j = p_j below the alpha-quantile, 0 above it, and at it what is left of alpha

p = w / sum w. With equal weights it is the mean of the alpha M lowest Z_j, where the last of
ceil(alpha M) counts by the fraction that alpha M has. The conditional value at risk of a discrete
distribution: Rockafellar and Uryasev 2002, J. Banking & Finance 26, 1443-1471, prop. 8. That it
runs over the rewards of one sample is ours; RiskPO (arXiv:2510.00911) takes tails over samples.

alpha = 1 is the mean, alpha to 0 the minimum. Between them it hears several of the worst rewards
where the minimum hears one, and no reward outside the tail, where the soft minimum hears all.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from rvpo.advantage.aggregate import Aggregate, mean_and_variance, shares
from rvpo.advantage.zscore import ZScoreEstimator
from rvpo.lazy import torch

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True, kw_only=True)
class CVaR(ZScoreEstimator):
    """A = mean of the lowest Z_j whose weights make up a share alpha.

    Raises:
        ValueError: alpha is not in (0, 1], or another setting is outside what it allows.
    """

    name: Literal["cvar"] = "cvar"
    alpha: float = 0.5
    """Share of a row's weights that counts as its tail: 1 is the mean, near 0 the minimum."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if not 0 < self.alpha <= 1:
            raise ValueError(f"alpha must lie in (0, 1], got {self.alpha}")

    def aggregate(self, z: Tensor, weights: Tensor, progress: float) -> Aggregate:
        """See `ZScoreEstimator`."""
        p = shares(weights)
        tail = shares(_tail(z, p, self.alpha))
        values = (tail * z).sum(dim=1)
        mu, _ = mean_and_variance(z, p)
        return Aggregate(values=values, contribution=tail, penalty=mu - values)


def _tail(z: Tensor, p: Tensor, alpha: float) -> Tensor:
    """[R, M] q: the part of each share that lies in the tail; ties have equal parts of theirs."""
    told = z.where(p > 0, torch.inf)
    ascending, order = told.sort(dim=1)
    mass = torch.nn.functional.pad(p.gather(1, order).cumsum(dim=1), (1, 0))  # [R, M + 1]
    below = mass.gather(1, torch.searchsorted(ascending, told))
    through = mass.gather(1, torch.searchsorted(ascending, told, right=True))
    inside = ((alpha - below) / (through - below)).clamp(0, 1)
    return (p * inside).where(p > 0, 0.0)
