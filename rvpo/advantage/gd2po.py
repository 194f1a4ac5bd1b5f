"""GD2PO: GDPO without the samples whose rewards disagree.

    agreement = |sum_j w_j Z_j| / sum_j w_j |Z_j|
    A         = (share of the group that is kept) sum_j w_j Z_j,   whitened over those kept

A sample with z-scores of both signs, and an agreement below tau, leaves whitening and the loss.
tau = 1 drops all with both signs: the hard form. Below 1 it is the SNR variant, which keeps a
sample that one side dominates; with many rewards hardly a sample has one sign alone. A group of
which much was dropped moves less.

Liu et al. 2026, arXiv:2606.16771. Known from the authors' code: both forms, tau 0.8, that a z-score
of 0 is of neither sign, and that the kept share is multiplied before whitening (another public
implementation multiplies the loss instead). Weights in the agreement are ours; the code has none.
The share is of the samples that could be trained on.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from rvpo.advantage.missing import Reading
from rvpo.advantage.weighted_sum import WeightedSum

if TYPE_CHECKING:
    from torch import Tensor

_NEUTRAL = 1e-8
"""A z-score whose sign is rounding."""


@dataclass(frozen=True, kw_only=True)
class GD2PO(WeightedSum):
    """A = (kept share of the group) sum_j w_j Z_j over the samples whose rewards agree.
    arXiv:2606.16771.

    Raises:
        ValueError: tau is not between 0 and 1, or another setting is outside what it allows.
    """

    name: Literal["gd2po"] = "gd2po"
    tau: float = 1.0
    """Agreement, |sum w Z| / sum w |Z|, below which a sample with z-scores of both signs is
    dropped: 1 drops each of them (GD2PO-Hard), 0.8 is the paper's SNR variant, 0 drops none."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if not 0 <= self.tau <= 1:
            raise ValueError(f"tau must be between 0 and 1, got {self.tau}")

    def trained(self, reading: Reading) -> Tensor:
        """See `WhitenedEstimator`."""
        return super().trained(reading) & ~self._conflicting(reading)

    def weights(self, reading: Reading) -> Tensor:
        """See `WhitenedEstimator`."""
        size = reading.rewards.group_size
        could, kept = super().trained(reading), self.trained(reading)
        share = _count(kept, size) / _count(could, size).clamp(min=1)
        return super().weights(reading) * share.repeat_interleave(size)[:, None]

    def _conflicting(self, reading: Reading) -> Tensor:
        """[N] bool."""
        weights = super().weights(reading)
        z = reading.scores.z.where(weights > 0, 0.0)
        mixed = (z > _NEUTRAL).any(dim=1) & (z < -_NEUTRAL).any(dim=1)
        if self.tau == 1:
            return mixed
        moved = weights * z
        return mixed & (moved.sum(dim=1).abs() < self.tau * moved.abs().sum(dim=1))


def _count(rows: Tensor, size: int) -> Tensor:
    """[P] float64, how many rows of each group a mask has."""
    return rows.reshape(-1, size).sum(dim=1).double()
