"""GDPO: standardise every reward in its group, then add up.

    A = sum_j w_j Z_j,   whitened over the batch

Liu et al. 2026, arXiv:2601.05242, eq. 4 to 7.

Up to rounding this is TRL's `normalize_then_sum`, with one exception: a row of which no score of
weight above 0 has a sibling's to compare with is unknown, and left out of whitening and the loss.
TRL leaves rows that have no score at all out of whitening, not out of the loss's normaliser, and
whitens this one as a sum of 0.

`frac_reward_zero_std` is TRL's here too: 1 where nothing tells the samples of the whole step apart,
else 0. The share of groups in which nothing does is `advantage/dead_group_frac`.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Literal

from rvpo.advantage.aggregate import Aggregate
from rvpo.advantage.weighted_sum import WeightedSum

if TYPE_CHECKING:
    from torch import Tensor

_NO_SPREAD = 1e-8
"""A difference that is rounding."""


@dataclass(frozen=True, kw_only=True)
class GDPO(WeightedSum):
    """A = sum_j w_j Z_j over the row's own rewards. arXiv:2601.05242, eq. 7."""

    name: Literal["gdpo"] = "gdpo"

    def aggregate(self, z: Tensor, weights: Tensor, progress: float) -> Aggregate:
        found = super().aggregate(z, weights, progress)
        return replace(found, of_step=_spread(found.values))


def _spread(values: Tensor) -> dict[str, float]:
    """1 where the step's sums are all the same, but for rounding, else 0; nothing without sums."""
    if not len(values):
        return {}
    return {"frac_reward_zero_std": float(values.max() - values.min() <= _NO_SPREAD)}
