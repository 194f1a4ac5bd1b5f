"""The settings of GDPO, RVPO and their ablations, and how each of them begins and ends."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, Literal

from rvpo.advantage.aggregate import Aggregate
from rvpo.advantage.check import check_choices, check_eps
from rvpo.advantage.diagnostics import diagnosed
from rvpo.advantage.group import in_dead_group, recentre, whiten
from rvpo.advantage.missing import InputKind, Missing, Reading, read
from rvpo.types import Advantages, Rewards

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True, kw_only=True)
class WhitenedEstimator(ABC):
    """Aggregate over the rewards of each row, then whiten over the batch.

    Raises:
        ValueError: a setting is outside what it allows.
        RewardError: when called, with `inputs: level`, a reward has scores outside [0, 1] and does
            not say what is good enough.
    """

    __pydantic_config__: ClassVar[dict[str, str]] = {"extra": "forbid"}

    name: str
    eps: float = 1e-4
    """Added to standard deviations, of a reward in its group and of the batch when whitening."""
    inputs: InputKind = "score"
    """Scores as they are, or levels of satisfaction: 0 at what is bad, 1 at what is good enough,
    half of it won at good enough alone (`rewards.NAME.satisfied`)."""
    scale: Literal["group", "none"] = "group"
    """Divisor of what is compared within a group: its standard deviation, with `eps`, or nothing.
    Without it a reward that few samples meet keeps its own size."""
    missing: Missing = "drop"
    """A score that a row lacks and a sibling has. drop: it is unknown, and the row is aggregated
    over the scores that remain. group_mean: it counts as its reward's group mean, a z-score of 0.
    zero: it counts as a score of 0, for the group's statistics too. skip_sample: the row is not
    trained on, for an aggregate that favours the lowest is optimistic over fewer rewards."""
    dead_channels: Literal["keep", "mask"] = "keep"
    """A reward that is constant in a group, or of reliability 0 where that weighs: takes part there
    with z = 0, or leaves the aggregate. GDPO's sum is the same either way."""
    dead_groups: Literal["keep", "recentre", "mask"] = "keep"
    """Groups with nothing but dead channels. A penalised aggregate is below 0 on average in every
    other group, so that whitening lifts these above 0: keep that, re-centre every group before
    whitening, or take the dead ones out of whitening and the loss."""
    whiten: bool = True
    """Scale the advantages of a step to mean 0 and standard deviation 1."""
    weight_by_reliability: bool = False
    """Shrink what is noise: a score goes to m + rho (r - m), m its group's mean, so that its
    z-score becomes rho Z. rho, the reliability, is found by asking for some verdicts again
    (`repeat` of a judge), and is 1 for every other score."""

    def __post_init__(self) -> None:
        check_choices(self)
        check_eps(self.eps)

    @abstractmethod
    def __call__(self, rewards: Rewards, progress: float = 0.0) -> Advantages:
        """Advantages of a whole step.

        Args:
            rewards: all samples of the step, over all ranks.
            progress: share of training done, 0 at the first step and 1 at the last.
        """

    def read(self, rewards: Rewards) -> Reading:
        """The scores as this estimator reads them."""
        return read(
            rewards,
            self.missing,
            self.eps,
            self.weight_by_reliability,
            self.inputs,
            by_std=self.scale == "group",
        )

    def trained(self, reading: Reading) -> Tensor:
        """[N] bool."""
        if self.dead_groups != "mask":
            return reading.trained
        size = reading.rewards.group_size
        return reading.trained & ~in_dead_group(reading.scores, reading.usable, size)

    def weights(self, reading: Reading) -> Tensor:
        """[N, M] float64, 0 where a channel is not counted; each trained row has one above 0."""
        counted = reading.counted
        if self.dead_channels == "mask":
            telling = counted & ~reading.scores.dead
            # Over dead channels alone every aggregate is 0, which needs them to be there.
            counted = telling.where(telling.any(dim=1, keepdim=True), counted)
        return reading.rewards.weights.double().where(counted, 0.0)

    def finished(
        self, reading: Reading, trained: Tensor, aggregate: Aggregate, advantages: Tensor
    ) -> Advantages:
        """The step's advantages, out of the [R] unwhitened ones of the trained rows."""
        if self.dead_groups == "recentre":
            group = trained.nonzero()[:, 0] // reading.rewards.group_size
            advantages = recentre(advantages, group)
        if self.whiten:
            advantages = whiten(advantages, self.eps)
        return diagnosed(
            reading.given, reading.scores, reading.usable, trained, aggregate, advantages
        )
