"""GRPO: add the rewards up, then standardise the sum in its group.

    A = (r - mean_G r) / (std_G r + eps),   r = sum_j w_j r_j

Shao et al. 2024, arXiv:2402.03300. Without the division it is the advantage of Dr. GRPO, Liu et al.
2025, arXiv:2503.20783; that paper's loss, divided by a constant in place of lengths, is not.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, Literal

from rvpo.advantage.aggregate import Aggregate, shares
from rvpo.advantage.check import check_choices, check_eps
from rvpo.advantage.diagnostics import diagnosed
from rvpo.advantage.group import GroupScores, standardise
from rvpo.advantage.missing import InputKind, Missing, read
from rvpo.lazy import torch
from rvpo.types import Advantages, Rewards

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True, kw_only=True)
class GRPO:
    """A = (r - mean_G r) / (std r + eps), r = sum_j w_j r_j, std over the group. arXiv:2402.03300.

    In the diagnostics a reward's weight is its share of the sum's movement, w_j (std_j + eps): the
    total weighs each z-score by how far its reward spreads.

    Raises:
        ValueError: a setting is outside what it allows.
        RewardError: when called, with `inputs: level`, a reward has scores outside [0, 1] and does
            not say what is good enough.
    """

    __pydantic_config__: ClassVar[dict[str, str]] = {"extra": "forbid"}

    name: Literal["grpo"] = "grpo"
    eps: float = 1e-4
    """Added to the standard deviation."""
    scale: Literal["group", "batch", "none"] = "group"
    """Divisor: the standard deviation of r in the group, or over all trained samples of the step,
    both unbiased and with `eps`; or nothing, which is the advantage of Dr. GRPO. TRL's
    `scale_rewards`."""
    inputs: InputKind = "score"
    """Scores as they are, or levels of satisfaction: 0 at what is bad, 1 at what is good enough,
    half of it won at good enough alone (`rewards.NAME.satisfied`)."""
    missing: Missing = "group_mean"
    """A score that a row lacks and a sibling has. group_mean: it counts as its reward's group mean,
    so that it moves nothing. zero: it counts as 0, as in TRL, where the sum runs over the scores
    there are. drop: the same, but a score that no sibling has is left out of the sum too.
    skip_sample: the row is not trained on. All are the same when no score is missing. A sample
    whose every score has weight 0 is left out; TRL counts it as 0."""
    weight_by_reliability: bool = False
    """Shrink what is noise: a score goes to m + rho (r - m), m its group's mean, before it is added
    up. rho, the reliability, is found by asking for some verdicts again (`repeat` of a judge), and
    is 1 for every other score."""

    def __post_init__(self) -> None:
        check_choices(self)
        check_eps(self.eps)

    def __call__(self, rewards: Rewards, progress: float = 0.0) -> Advantages:
        """Advantages of a whole step.

        Args:
            rewards: all samples of the step, over all ranks.
            progress: not used.
        """
        reading = read(rewards, self.missing, self.eps, self.weight_by_reliability, self.inputs)
        weights = rewards.weights.double()
        r = (weights * reading.values.where(reading.counted, 0.0)).sum(dim=1)
        total = standardise(r[:, None], reading.trained[:, None], rewards.group_size, self.eps)
        trained = reading.trained & total.comparable[:, 0]
        advantages = self._scaled(total, trained)

        scores = reading.known  # diagnostics are of the scores there are
        spread = (weights * (scores.std + self.eps)).where(rewards.weighted & reading.counted, 0.0)
        aggregate = Aggregate(
            values=advantages,
            contribution=shares(spread[trained]),
            penalty=torch.zeros_like(advantages),
        )
        usable = scores.comparable & rewards.weighted
        return diagnosed(rewards, scores, usable, trained, aggregate, advantages)

    def _scaled(self, total: GroupScores, trained: Tensor) -> Tensor:
        """[R] aggregate of the trained rows; `total` has one channel, r."""
        match self.scale:
            case "group":
                return total.z[trained, 0]
            case "none":
                return total.centred[trained, 0]
        centred = total.centred[trained, 0]
        r = centred + total.mean[trained, 0]
        spread = r.std() if len(r) > 1 else torch.zeros_like(r.sum())
        return centred / (spread + self.eps)
