"""DARA: GDPO in which a reward that is alive in few groups weighs more.

    d_j = min(cap, sqrt(max_l pi_l / pi_j))
    A   = sum_j w_j (Z_j + (d_j - 1) max(Z_j, 0))     amplify: positive, the paper's DARA-Asym
    A   = sum_j w_j d_j Z_j                           amplify: both, its DARA-Sym;  both whitened

pi_j, the density of reward j, is the share of the step's groups in which it tells samples apart. It
is not the rate at which the reward is met: one that half of each group meets has density 1.

"Make Sparse Rewards Count", arXiv:2610.00574. Known from its public repository: the equations, both
forms, cap 5, and that the asymmetric one is the main method. The paper's text could not be read.
Chosen here: the share is of the groups that have the reward and weigh it, so that a criterion of
few prompts is not rare for that alone, and a reward that is dead everywhere has d = 1, which moves
nothing. The configured weights are not the paper's.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from rvpo.advantage.missing import Reading
from rvpo.advantage.weighted_sum import WeightedSum

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True, kw_only=True)
class DARA(WeightedSum):
    """A = sum_j w_j (Z_j + (d_j - 1) max(Z_j, 0)), d_j = min(cap, sqrt(max pi / pi_j)), pi_j the
    share of groups in which reward j is alive. arXiv:2610.00574.

    Raises:
        ValueError: cap is below 1 or NaN, or another setting is outside what it allows.
    """

    name: Literal["dara"] = "dara"
    amplify: Literal["positive", "both"] = "positive"
    """Z-scores that a rare reward's factor multiplies: those above 0, or all."""
    cap: float = 5.0
    """Largest factor; 1 is GDPO, `.inf` sets no limit."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if not self.cap >= 1:
            raise ValueError(f"cap must be at least 1, got {self.cap}")

    def weights(self, reading: Reading) -> Tensor:
        """See `WhitenedEstimator`."""
        weights = super().weights(reading)
        amplified = weights * self._factor(reading)
        if self.amplify == "both":
            return amplified
        return amplified.where(reading.scores.z > 0, weights)

    def _factor(self, reading: Reading) -> Tensor:
        """[M] d."""
        size = reading.rewards.group_size
        channels = reading.usable.shape[1]

        def groups(told: Tensor) -> Tensor:
            return told.reshape(-1, size, channels).any(dim=1).sum(dim=0).double()

        alive = groups(reading.usable & ~reading.scores.dead)
        density = alive / groups(reading.usable).clamp(min=1)
        factor = (density.max() / density).sqrt().clamp(max=self.cap)
        return factor.where(alive > 0, 1.0)
