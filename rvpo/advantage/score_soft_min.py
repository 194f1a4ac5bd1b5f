"""The flow of soft minima of scores: combine the scores of a row, then compare it in its group."""

from __future__ import annotations

from dataclasses import dataclass

from rvpo.advantage.check import check_risk
from rvpo.advantage.group import standardise
from rvpo.advantage.missing import Missing
from rvpo.advantage.rvpo import aggregate_soft_min
from rvpo.advantage.whitened import WhitenedEstimator
from rvpo.schedule import Ramp, value_at
from rvpo.types import Advantages, Rewards


@dataclass(frozen=True, kw_only=True)
class ScoreSoftMin(WhitenedEstimator):
    """A = compared in the group: -(1/k) ln sum_j p_j exp(-k r_j), p = w / sum w.

    A reward of small spread counts for little. Weights and penalty in the diagnostics are those of
    the scores.

    Raises:
        ValueError: k is negative or NaN, or another setting is outside what it allows.
    """

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
        reading = self.read(rewards)
        trained, weights = self.trained(reading), self.weights(reading)
        aggregate = aggregate_soft_min(
            reading.values[trained], weights[trained], value_at(self.k, progress)
        )
        minima = aggregate.values.new_zeros(len(trained), 1)
        minima[trained, 0] = aggregate.values
        total = standardise(
            minima, trained[:, None], rewards.group_size, self.eps, by_std=self.scale == "group"
        )
        return self.finished(reading, trained, aggregate, total.z[trained, 0])
