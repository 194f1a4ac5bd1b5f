"""RVPO without z-scores: a soft minimum of the scores as they are, then a z-score in the group.

    A = (s - mean_G s) / (std_G s + eps),   whitened over the batch
    s = -(1/k) ln( sum_j w_j exp(-k r_j) / sum_j w_j )

For rewards that share a scale, such as verdicts: there a low score says that a sample is bad, while
a low z-score says that its siblings are better. An ablation of RVPO (arXiv:2605.05750) in GRPO's
order: combine, then standardise. k = infinity is the minimum; k = 0 is the weighted mean, which
gives what GRPO's sum does, whitened, where all rows of a group have the same sum_j w_j.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from rvpo.advantage.check import check_risk
from rvpo.advantage.group import standardise
from rvpo.advantage.missing import Missing, read
from rvpo.advantage.rvpo import aggregate_soft_min
from rvpo.advantage.whitened import WhitenedEstimator
from rvpo.schedule import Ramp, value_at
from rvpo.types import Advantages, Rewards


@dataclass(frozen=True, kw_only=True)
class RawRVPO(WhitenedEstimator):
    """A = z-score in the group of -(1/k) ln sum_j p_j exp(-k r_j), p = w / sum w.

    A reward of small spread counts for little. Weights and penalty in the diagnostics are those of
    the scores.

    Raises:
        ValueError: k is negative or NaN, or another setting is outside what it allows.
    """

    name: Literal["raw_rvpo"] = "raw_rvpo"
    k: float | Ramp = 1.0
    """Risk coefficient, in units of 1/score: 0 is the mean, `.inf` the minimum."""
    missing: Missing = "group_mean"
    """A score that a row lacks and a sibling has. group_mean: it counts as its reward's group mean,
    so that a reward of high scores is not missed for being high. drop: the row is aggregated over
    the scores that remain. zero: it counts as a score of 0. skip_sample: the row is not trained
    on."""

    def __post_init__(self) -> None:
        super().__post_init__()
        check_risk(self.k)

    def __call__(self, rewards: Rewards, progress: float = 0.0) -> Advantages:
        """See `WhitenedEstimator`."""
        reading = read(rewards, self.missing, self.eps, self.weight_by_reliability)
        trained, weights = self.trained(reading), self.weights(reading)
        aggregate = aggregate_soft_min(
            reading.values[trained], weights[trained], value_at(self.k, progress)
        )
        minima = aggregate.values.new_zeros(len(trained), 1)
        minima[trained, 0] = aggregate.values
        total = standardise(minima, trained[:, None], rewards.group_size, self.eps)
        return self.finished(reading, trained, aggregate, total.z[trained, 0])
