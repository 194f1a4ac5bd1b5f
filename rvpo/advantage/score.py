"""The flow of estimators that combine first: aggregate a row's scores, compare in its group."""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import dataclass
from typing import TYPE_CHECKING

from rvpo.advantage.aggregate import Aggregate
from rvpo.advantage.group import standardise
from rvpo.advantage.missing import Missing, Reading
from rvpo.advantage.whitened import WhitenedEstimator
from rvpo.types import Advantages, Rewards

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True, kw_only=True)
class ScoreEstimator(WhitenedEstimator):
    """One number for each row out of its scores, as a z-score in the group.

    A reward of small spread counts for little. Weights and penalty in the diagnostics are those of
    the scores.

    Raises:
        ValueError: a setting is outside what it allows.
    """

    missing: Missing = "group_mean"
    """A score that a row lacks and a sibling has. group_mean: it counts as its reward's group mean,
    so that a reward of high scores is not missed for being high. drop: the row is aggregated over
    the scores that remain. zero: it counts as a score of 0. skip_sample: the row is not trained
    on."""

    @abstractmethod
    def aggregate(self, values: Tensor, weights: Tensor, progress: float) -> Aggregate:
        """One number for each row.

        Args:
            values: [R, M] scores, float64.
            weights: [R, M], 0 where a channel takes no part; each row has one above 0.
            progress: share of training done, in [0, 1].
        """

    def read_at(self, rewards: Rewards, progress: float) -> Reading:
        """The scores as this estimator reads them when that share of training is done."""
        return self.read(rewards)

    def values(self, reading: Reading) -> Tensor:
        """[N, M] float64, what is aggregated: the scores."""
        return reading.values

    def __call__(self, rewards: Rewards, progress: float = 0.0) -> Advantages:
        """See `WhitenedEstimator`."""
        reading = self.read_at(rewards, progress)
        trained, weights = self.trained(reading), self.weights(reading)
        aggregate = self.aggregate(self.values(reading)[trained], weights[trained], progress)
        combined = aggregate.values.new_zeros(len(trained), 1)
        combined[trained, 0] = aggregate.values
        total = standardise(
            combined, trained[:, None], rewards.group_size, self.eps, by_std=self.scale == "group"
        )
        return self.finished(reading, trained, aggregate, total.z[trained, 0])
