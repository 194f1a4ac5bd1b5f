"""RDPO: scores by their quantiles, then decorrelated, then added up.

    x_ij = (1 - magnitude) (q_ij - mean_G q_j) + magnitude Z_ij
    q_ij = normal quantile of the share of siblings below r_ij, ties counting half
    A_i  = sum_j w_j (C_S^(-1/2) x_i)_j,   whitened over the batch

C is the covariance of x over the step, of each pair of rewards where the groups tell both apart,
with `ridge` added to its variances; C_S is that of the active rewards of the row's group, which any
of its rows counts. Bai et al. 2026, arXiv:2605.13641.

Quantiles keep a prompt with a rare success from outweighing the others: one success of sixteen has
2.7 times the advantage of one of eight of sixteen by ranks alone, where z-scores make it 3.9 times.
Whitening keeps several rewards that say the same from outvoting one that says another thing: m
copies of a reward count as sqrt(m). The price is that a reward may get a negative weight, for what
it adds to those that it goes along with.

Known from the paper's abstract: "magnitude-aware" quantiles within a prompt, then Mahalanobis
whitening within each subspace of active rewards, then aggregation. Its equations could not be read.
Inferred: normal quantiles; that awareness of magnitude is a part of the z-score beside them; that
the covariance is the step's, since a group has too few samples for one; the ridge; and that
"active" is what tells a group apart. Where rewards differ by prompt a column is only a place, its
covariances average out, and little but the quantiles is left.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from rvpo.advantage.aggregate import Aggregate
from rvpo.advantage.check import check_share
from rvpo.advantage.missing import Reading
from rvpo.advantage.whitened import WhitenedEstimator
from rvpo.lazy import torch
from rvpo.types import Advantages, Rewards

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True, kw_only=True)
class RDPO(WhitenedEstimator):
    """A = sum_j w_j (C^(-1/2) x)_j, x the normal quantiles of the scores. arXiv:2605.13641.

    In the diagnostics a reward's weight is dA/dx_j, and the absolute weights of a row sum to 1.

    Raises:
        ValueError: magnitude or ridge is outside its range, or another setting is.
    """

    name: Literal["rdpo"] = "rdpo"
    dead_channels: Literal["keep", "mask"] = "mask"
    """A reward that is constant in a group, or of reliability 0 where that weighs: is decorrelated
    there with x = 0, or is not among the active ones."""
    magnitude: float = 0.5
    """Share of the z-score beside the quantile, 0 to 1: 0 reads ranks alone. Inferred."""
    ridge: float = 0.01
    """Added to the variances before they are inverted, so that what hardly varies is not blown up.
    Inferred."""

    def __post_init__(self) -> None:
        super().__post_init__()
        check_share("magnitude", self.magnitude)
        if not 0 < self.ridge < math.inf:
            raise ValueError(f"ridge must be a finite number above 0, got {self.ridge}")

    def __call__(self, rewards: Rewards, progress: float = 0.0) -> Advantages:
        """See `WhitenedEstimator`."""
        reading = self.read(rewards)
        trained, weights = self.trained(reading), self.weights(reading)
        x = (1 - self.magnitude) * _quantiles(reading) + self.magnitude * reading.scores.z
        active = (weights > 0).reshape(-1, rewards.group_size, weights.shape[1]).any(dim=1)
        roots = _inverse_roots(
            _covariance(x, reading.usable & ~reading.scores.dead), active, self.ridge
        )
        gradient = torch.einsum("pgm,pml->pgl", weights.reshape(-1, *_shape(rewards)), roots)
        gradient = gradient.reshape(weights.shape)[trained]
        values = (gradient * x[trained]).sum(dim=1)
        aggregate = Aggregate(
            values=values,
            contribution=gradient / gradient.abs().sum(dim=1, keepdim=True),
            penalty=torch.zeros_like(values),
        )
        return self.finished(reading, trained, aggregate, values)


def _shape(rewards: Rewards) -> tuple[int, int]:
    return rewards.group_size, len(rewards.names)


def _quantiles(reading: Reading) -> Tensor:
    """[N, M] normal quantiles less their group's mean, 0 where there is nothing to compare."""
    valid = reading.rewards.valid.reshape(-1, *_shape(reading.rewards))
    scores = reading.rewards.values.double().reshape(valid.shape)
    one, other = scores[:, :, None], scores[:, None]  # of [P, G, G, M]
    beaten = ((other < one).double() + (other == one).double() * 0.5).where(valid[:, None], 0.0)
    count = valid.sum(dim=1, keepdim=True).clamp(min=1)
    share = (beaten.sum(dim=2) / count).where(valid, 0.5)
    quantiles = torch.special.ndtri(share)
    centred: Tensor = quantiles - quantiles.sum(dim=1, keepdim=True) / count
    told = reading.rewards.valid & reading.scores.comparable & ~reading.scores.constant
    centred = centred.reshape(told.shape).where(told, 0.0)
    rho = reading.scores.reliability
    return centred if rho is None else rho * centred


def _covariance(x: Tensor, telling: Tensor) -> Tensor:
    """[M, M]: of each pair over the rows where both tell something; x has mean 0 in each group."""
    there = telling.double()
    known = x.where(telling, 0.0)
    covariance: Tensor = known.T @ known / (there.T @ there).clamp(min=1)
    return covariance


def _inverse_roots(covariance: Tensor, active: Tensor, ridge: float) -> Tensor:
    """[P, M, M] C_S^(-1/2) of each group's active rewards, 0 elsewhere.

    Args:
        covariance: [M, M]; of pairs, so that it may have eigenvalues below 0, which count as 0.
        active: [P, M] bool.
        ridge: added to the eigenvalues.
    """
    found: tuple[Tensor, Tensor] = torch.unique(active, dim=0, return_inverse=True)
    sets, which = found
    pairs = sets[:, :, None] & sets[:, None]
    values, vectors = torch.linalg.eigh(covariance.where(pairs, 0.0))
    roots = vectors * (values.clamp(min=0) + ridge).rsqrt()[:, None] @ vectors.mT
    whole: Tensor = roots.where(pairs, 0.0)[which]
    return whole
