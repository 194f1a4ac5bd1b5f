"""SA-MRPO: GDPO in which a reward weighs by what is left of it to gain.

    s_j = mean over the step of (r_j - bad_j) / (good_j - bad_j), each between 0 and 1
    A   = sum_j w_j (1 - s_j)^gamma Z_j,   whitened over the batch

s_j is the saturation of reward j. gamma = 0 is GDPO. What is satisfied on average no longer counts,
even against a reward that opposes it: nothing keeps it there.

Wang et al. 2026, arXiv:2608.16072, section 4. The paper has rewards with known bounds; here they
are `rewards.NAME.satisfied`, 0 and 1 for a verdict, and scores outside count as the bound. Its
standard deviations divide by the number of samples and have no eps; here they are as for every
estimator, which whitening makes the same but for eps. `over: group` is ours.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from rvpo.advantage.group import standardise
from rvpo.advantage.level import check_declared, reached
from rvpo.advantage.missing import Reading
from rvpo.advantage.weighted_sum import Over, WeightedSum, adjacent

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True, kw_only=True)
class SAMRPO(WeightedSum):
    """A = sum_j w_j (1 - s_j)^gamma Z_j, s_j how far the step satisfies reward j on average.
    arXiv:2608.16072.

    Raises:
        ValueError: gamma is negative or not finite, or another setting is outside what it allows.
        RewardError: when called, a reward has scores outside [0, 1] and does not say what is good
            enough.
    """

    name: Literal["sa_mrpo"] = "sa_mrpo"
    gamma: float = 0.5
    """Exponent of what is left to gain, in a reward's weight; 0 is GDPO. The paper's ablation is
    best at 0.5."""
    over: Over = "step"
    """Samples that a saturation is of: all of the step, as in the paper, or those of the group, for
    rubrics, whose columns are another criterion in each prompt."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if not 0 <= self.gamma < math.inf:
            raise ValueError(f"gamma must be a finite number of at least 0, got {self.gamma}")

    def weights(self, reading: Reading) -> Tensor:
        """See `WhitenedEstimator`."""
        unit = adjacent(reading.rewards, self.over)
        check_declared(reading.rewards)
        saturation = standardise(reached(reading.rewards), reading.usable, unit, self.eps).mean
        left = (1 - saturation).clamp(min=0)  # rounding may leave it below 0
        return super().weights(reading) * left**self.gamma
