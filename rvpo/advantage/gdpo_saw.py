"""GDPO-SAW: GDPO in which a reward weighs by its coefficient of variation over the step.

    CV_j = std(x_j) / (mean(x_j) + eps),   x_j = r_j - bad_j
    A    = sum_j w_j c_j Z_j,   c_j = M CV_j / sum_l CV_l,   whitened over the batch

Mean and std run over all samples of the step, M is the number of rewards. A verdict that a share p
meets has CV sqrt((1 - p) / p): what few meet weighs most, and what all meet nothing. CV does not
depend on a reward's unit, and does depend on where its scale begins: `bad` of
`rewards.NAME.satisfied`, 0 for a verdict. Scores below it count as it.

SAW, He et al. 2026, arXiv:2606.07705; GDPO-SAW is its form for GDPO. Known from its code and from
notes of the paper: the equations, the lower bound that scores are measured from, equal weights
where no CV is above 0, the unbiased std, and static weights beside c. The bound's place in the
configuration is ours, and so is `over: group`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from rvpo.advantage.group import standardise
from rvpo.advantage.level import above_bad
from rvpo.advantage.missing import Reading
from rvpo.advantage.weighted_sum import Over, WeightedSum, adjacent

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True, kw_only=True)
class GDPOSAW(WeightedSum):
    """A = sum_j w_j c_j Z_j, c_j = M CV_j / sum_l CV_l, CV_j = std / mean of reward j over the
    step, measured from what is bad. arXiv:2606.07705.

    Raises:
        ValueError: a setting is outside what it allows.
        RewardError: when called, a reward has scores below 0 and does not say what is bad.
    """

    name: Literal["gdpo_saw"] = "gdpo_saw"
    over: Over = "step"
    """Samples that a coefficient of variation is of: all of the step, as in the paper, or those of
    the group, for rubrics, whose columns are another criterion in each prompt."""

    def weights(self, reading: Reading) -> Tensor:
        """See `WhitenedEstimator`."""
        unit = adjacent(reading.rewards, self.over)
        told = reading.usable
        scores = standardise(above_bad(reading.rewards), told, unit, self.eps)
        cv = scores.std / (scores.mean + self.eps)
        total = cv.sum(dim=1, keepdim=True)
        grouped = told.reshape(-1, unit, told.shape[1]).any(dim=1)
        channels = grouped.sum(dim=1).repeat_interleave(unit)[:, None]  # M
        factor = (channels * cv / total).where(total > 0, 1.0)
        return super().weights(reading) * factor
