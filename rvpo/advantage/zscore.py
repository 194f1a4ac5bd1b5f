"""The flow that GDPO, RVPO and their ablations share: z-score, aggregate, whiten."""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import dataclass
from typing import TYPE_CHECKING

from rvpo.advantage.aggregate import Aggregate
from rvpo.advantage.whitened import WhitenedEstimator
from rvpo.types import Advantages, Rewards

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True, kw_only=True)
class ZScoreEstimator(WhitenedEstimator):
    """Standardise each reward in its group, aggregate over a row's rewards, whiten the batch.

    A missing score leaves its channel's statistics, and the setting `missing` says how its row is
    aggregated without it. The only score of its channel in a group, which nothing compares with,
    leaves the aggregate. A row without any channel is not trained on.

    Raises:
        ValueError: a setting is outside what it allows.
    """

    @abstractmethod
    def aggregate(self, z: Tensor, weights: Tensor, progress: float) -> Aggregate:
        """One number for each row.

        Args:
            z: [R, M] group z-scores, float64.
            weights: [R, M], 0 where a channel takes no part; each row has one above 0.
            progress: share of training done, in [0, 1].
        """

    def __call__(self, rewards: Rewards, progress: float = 0.0) -> Advantages:
        """See `WhitenedEstimator`."""
        reading = self.read(rewards)
        trained, weights = self.trained(reading), self.weights(reading)
        aggregate = self.aggregate(reading.scores.z[trained], weights[trained], progress)
        return self.finished(reading, trained, aggregate, aggregate.values)
