"""RVPO: standardise every reward in its group, then take a soft minimum over the rewards.

    A = -(1/k) ln( sum_j w_j exp(-k Z_j) / sum_j w_j ),   whitened over the batch

Montero, Jurczyk and Dhingra 2026, arXiv:2605.05750. k = infinity is the minimum; k = 0 is the
weighted mean mu, which is that paper's GDPO baseline. The GDPO here sums, as its own paper and TRL
do: sum_j w_j Z_j = mu sum_j w_j. Whitening makes the two equal, but for eps, only where all rows of
a step have the same sum_j w_j; with missing scores, or rewards that differ by prompt, GDPO moves
the rows with more weight further. In between, A = mu - (k/2) sigma^2 + O(k^2), with sigma^2 the
weighted population variance of Z across the rewards of one sample.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Literal

from rvpo.advantage.aggregate import Aggregate, lowest, mean_and_variance, shares
from rvpo.advantage.check import check_risk
from rvpo.advantage.zscore import ZScoreEstimator
from rvpo.lazy import torch
from rvpo.schedule import Ramp, value_at

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True, kw_only=True)
class RVPO(ZScoreEstimator):
    """A = -(1/k) ln sum_j p_j exp(-k Z_j), p = w / sum w over the row's own rewards.

    arXiv:2605.05750.

    Raises:
        ValueError: k is negative or NaN, or another setting is outside what it allows.
    """

    name: Literal["rvpo"] = "rvpo"
    k: float | Ramp = 1.0
    """Risk coefficient, in units of 1/Z: 0 is the mean, `.inf` the minimum. The paper's curriculum
    is {start: 0.5, end: 2.0}."""

    def __post_init__(self) -> None:
        super().__post_init__()
        check_risk(self.k)

    def aggregate(self, z: Tensor, weights: Tensor, progress: float) -> Aggregate:
        return aggregate_soft_min(z, weights, value_at(self.k, progress))


def aggregate_soft_min(z: Tensor, weights: Tensor, k: float) -> Aggregate:
    """The soft minimum of each row, with its distance from mean and variance where k is finite.

    Args:
        z: [R, M] values to aggregate.
        weights: [R, M], 0 where a channel takes no part; each row has one above 0.
        k: 0 or more.
    """
    p = shares(weights)
    values = soft_min(z, p, k)
    mu, variance = mean_and_variance(z, p)
    aggregate = Aggregate(
        values=values, contribution=soft_min_weights(z, p, k), penalty=mu - values
    )
    if math.isinf(k):  # no Taylor series, and infinity is no number to log
        return aggregate
    residual = (values - (mu - k / 2 * variance)).abs()
    return replace(
        aggregate,
        per_row={
            "advantage/taylor_residual": residual,
            "advantage/taylor_bound": taylor_bound(z, p, k),
        },
        of_step={"rvpo/k": float(k)},
    )


def soft_min(z: Tensor, p: Tensor, k: float) -> Tensor:
    """-(1/k) ln sum_j p_j exp(-k z_j), with its limits at k = 0 and k = infinity.

    Args:
        z: [R, M].
        p: [R, M], summing to 1 over each row; channels with p = 0 take no part.
        k: 0 or more.

    Returns:
        [R], between the lowest z and the mean.
    """
    if k == 0:
        return (p * z).sum(dim=1)
    minimum, _ = lowest(z, p)
    if math.isinf(k):
        return minimum
    # Measured from the minimum no exponent is positive, so nothing overflows; expm1 and log1p
    # keep the digits that exp and log would lose as k goes to 0.
    gap = (z - minimum[:, None]).where(p > 0, 0.0)
    return minimum - torch.log1p((p * torch.expm1(-k * gap)).sum(dim=1)) / k


def taylor_bound(z: Tensor, p: Tensor, k: float) -> Tensor:
    """k^2 R^3 / (36 sqrt 3), which |A - (mu - (k/2) sigma^2)| never exceeds; R is the range of z.

    The third cumulant of any distribution on an interval of length R lies within R^3 / (6 sqrt 3),
    and the remainder of Taylor's theorem is k^2 / 6 times one.

    Args:
        z: [R, M].
        p: [R, M], summing to 1 over each row.
        k: finite.

    Returns:
        [R].
    """
    low, high = lowest(z, p)[0], -lowest(-z, p)[0]
    return k**2 * (high - low) ** 3 / (36 * math.sqrt(3))


def soft_min_weights(z: Tensor, p: Tensor, k: float) -> Tensor:
    """dA/dz_j = p_j exp(-k z_j) / sum_l p_l exp(-k z_l).

    Args:
        z: [R, M].
        p: [R, M], summing to 1 over each row.
        k: 0 or more; infinity gives the limit, 1 at the minimum, shared by p among ties.

    Returns:
        [R, M], summing to 1 over each row.
    """
    if math.isinf(k):
        return lowest(z, p)[1]
    return torch.softmax(p.log() - k * z, dim=1)
