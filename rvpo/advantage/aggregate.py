"""One number for each sample out of its z-scores, and what each reward had to say in it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from rvpo.lazy import torch

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Aggregate:
    """The unwhitened advantages of the R trained rows of a step."""

    values: Tensor  # [R]
    contribution: Tensor  # [R, M] dA/dZ_j, scaled to sum to 1 over the row
    penalty: Tensor  # [R] how far below the weighted mean of Z, on the scale of Z; 0 if A is linear
    per_row: Mapping[str, Tensor] = field(default_factory=dict)
    """Further diagnostics, [R] each; their mean is logged."""
    of_step: Mapping[str, float] = field(default_factory=dict)
    """Numbers of the whole step, logged as they are."""


def shares(weights: Tensor) -> Tensor:
    """[R, M] weights scaled to sum to 1 over each row; a row without one above 0 stays 0."""
    total = weights.sum(dim=1, keepdim=True)
    return weights / total.where(total > 0, 1.0)


def weighted_mean(values: Tensor, weights: Tensor) -> Aggregate:
    """sum_j p_j x_j, p = w / sum w.

    Args:
        values: [R, M] x.
        weights: [R, M]; each row has one above 0.
    """
    p = shares(weights)
    mean = (p * values).sum(dim=1)
    return Aggregate(values=mean, contribution=p, penalty=torch.zeros_like(mean))


def mean_and_variance(z: Tensor, share: Tensor) -> tuple[Tensor, Tensor]:
    """mu = sum_j p_j Z_j and sigma^2 = sum_j p_j (Z_j - mu)^2, across the channels of each row.

    Args:
        z: [R, M].
        share: [R, M] p, summing to 1 over each row.

    Returns:
        [R] and [R].
    """
    mean = (share * z).sum(dim=1)
    variance = (share * (z - mean[:, None]).square()).sum(dim=1)
    return mean, variance


def lowest(z: Tensor, weights: Tensor) -> tuple[Tensor, Tensor]:
    """The lowest z of each row among its channels of weight above 0, and whose it is.

    Args:
        z: [R, M].
        weights: [R, M], one above 0 in each row; a bool mask weighs its channels equally.

    Returns:
        The minimum [R], and [R, M]: 1 at its channel, shared by weight among ties.
    """
    candidates = z.where(weights > 0, torch.inf)
    minimum = candidates.amin(dim=1)
    return minimum, shares(weights.to(z.dtype).where(candidates == minimum[:, None], 0.0))
