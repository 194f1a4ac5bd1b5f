"""The flow that GDPO, RVPO and their ablations share: z-score, aggregate, whiten."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, Literal

from rvpo.advantage.aggregate import Aggregate
from rvpo.advantage.check import check_choices, check_eps
from rvpo.advantage.diagnostics import diagnose
from rvpo.advantage.group import GroupScores, in_dead_group, recentre, standardise, whiten
from rvpo.lazy import torch
from rvpo.types import Advantages, Rewards

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True, kw_only=True)
class ZScoreEstimator(ABC):
    """Standardise each reward in its group, aggregate over a row's rewards, whiten the batch.

    A missing score is unknown: it leaves its channel's statistics, and its row is aggregated over
    the channels that remain. So does the only score of its channel in a group, which nothing
    compares with. A row without any channel is not trained on.

    Raises:
        ValueError: a setting is outside what it allows.
    """

    __pydantic_config__: ClassVar[dict[str, str]] = {"extra": "forbid"}

    name: str
    eps: float = 1e-4
    """Added to standard deviations, of a reward in its group and of the batch when whitening."""
    dead_channels: Literal["keep", "mask"] = "keep"
    """A reward that is constant in a group: takes part there with z = 0, or leaves the aggregate.
    GDPO's sum is the same either way."""
    dead_groups: Literal["keep", "recentre", "mask"] = "keep"
    """Groups with nothing but dead channels. A penalised aggregate is below 0 on average in every
    other group, so that whitening lifts these above 0: keep that, re-centre every group before
    whitening, or take the dead ones out of whitening and the loss."""
    require_all: bool = False
    """Do not train on a row that lacks a score which its siblings have: an aggregate that favours
    the lowest is optimistic over fewer rewards."""
    standardise: bool = True
    """Aggregate z-scores. Off, for comparison: the scores are aggregated as they are, so that k is
    in the units of the rewards and a reward of small spread counts for little, and the aggregate is
    standardised in its group as GRPO's sum is. A missing score then counts as its reward's group
    mean. Weights and penalty in the metrics are those of the scores."""
    whiten: bool = True
    """Scale the advantages of a step to mean 0 and standard deviation 1."""

    def __post_init__(self) -> None:
        check_choices(self)
        check_eps(self.eps)

    @abstractmethod
    def aggregate(self, z: Tensor, weights: Tensor, progress: float) -> Aggregate:
        """One number for each row.

        Args:
            z: [R, M] group z-scores, float64.
            weights: [R, M], 0 where a channel takes no part; each row has one above 0.
            progress: share of training done, in [0, 1].
        """

    def __call__(self, rewards: Rewards, progress: float = 0.0) -> Advantages:
        """Advantages of a whole step.

        Args:
            rewards: all samples of the step, over all ranks.
            progress: share of training done, 0 at the first step and 1 at the last.
        """
        size = rewards.group_size
        scores = standardise(rewards.values, rewards.valid, size, self.eps)
        used = scores.present & rewards.used
        trained = self._trained(rewards, scores, used)
        if self.standardise:
            inputs, heard = scores.z, used
        else:  # as if it were an average one: the rewards that a row lacks must not move it
            inputs = rewards.values.double().where(scores.present, scores.mean)
            heard = scores.compared & (rewards.weights > 0)
        weights = rewards.weights.double().where(self._participating(scores, heard), 0.0)

        aggregate = self.aggregate(inputs[trained], weights[trained], progress)
        advantages = aggregate.values
        if not self.standardise:
            advantages = self._compared(advantages, trained, size)
        if self.dead_groups == "recentre":
            advantages = recentre(advantages, trained.nonzero()[:, 0] // size)
        if self.whiten:
            advantages = whiten(advantages, self.eps)

        values = torch.zeros_like(rewards.values[:, 0])
        values[trained] = advantages.to(values)
        return Advantages(
            values=values,
            trained=trained,
            z=scores.z.to(rewards.values),
            metrics=diagnose(rewards, scores, trained, aggregate, advantages),
        )

    def _compared(self, values: Tensor, trained: Tensor, group_size: int) -> Tensor:
        """The trained rows' [R] aggregates of raw scores, standardised in their groups."""
        totals = values.new_zeros(len(trained), 1)
        totals[trained, 0] = values
        return standardise(totals, trained[:, None], group_size, self.eps).z[trained, 0]

    def _trained(self, rewards: Rewards, scores: GroupScores, used: Tensor) -> Tensor:
        """[N] bool, true for the rows that are trained on."""
        trained = used.any(dim=1)
        if self.require_all:
            lacking = scores.compared & (rewards.weights > 0) & ~rewards.valid
            trained = trained & ~lacking.any(dim=1)
        if self.dead_groups == "mask":
            trained = trained & ~in_dead_group(scores, used, rewards.group_size)
        return trained

    def _participating(self, scores: GroupScores, used: Tensor) -> Tensor:
        """[N, M] bool: the channels that a row's aggregate runs over."""
        if self.dead_channels == "keep":
            return used
        alive = used & ~scores.dead
        # Over dead channels alone every aggregate is 0, which needs them to be there.
        return alive.where(alive.any(dim=1, keepdim=True), used)
