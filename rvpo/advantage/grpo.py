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
from rvpo.advantage.diagnostics import diagnose
from rvpo.advantage.group import GroupScores, standardise
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
    """

    __pydantic_config__: ClassVar[dict[str, str]] = {"extra": "forbid"}

    name: Literal["grpo"] = "grpo"
    eps: float = 1e-4
    """Added to the standard deviation."""
    scale: Literal["group", "batch", "none"] = "group"
    """Divisor: the standard deviation of r in the group, or over all trained samples of the step,
    both unbiased and with `eps`; or nothing, which is the advantage of Dr. GRPO. TRL's
    `scale_rewards`."""
    missing: Literal["neutral", "sum"] = "neutral"
    """A missing score counts as its reward's group mean, so that it moves nothing; or, as in TRL,
    the sum runs over the scores there are, which reads a missing one as 0. The same when no score
    is missing. A sample whose every score has weight 0 is left out; TRL counts it as 0."""

    def __post_init__(self) -> None:
        check_choices(self)
        check_eps(self.eps)

    def __call__(self, rewards: Rewards, progress: float = 0.0) -> Advantages:
        """Advantages of a whole step.

        Args:
            rewards: all samples of the step, over all ranks.
            progress: not used.
        """
        scores = standardise(rewards.values, rewards.valid, rewards.group_size, self.eps)
        counted = self._counted(rewards, scores)
        total = standardise(
            self._totals(rewards, scores)[:, None],
            counted.any(dim=1)[:, None],
            rewards.group_size,
            self.eps,
        )
        trained = total.present[:, 0]
        advantages = self._scaled(total, trained)

        spread = rewards.weights.double() * (scores.std + self.eps)
        aggregate = Aggregate(
            values=advantages,
            contribution=shares(spread.where(counted, 0.0)[trained]),
            penalty=torch.zeros_like(advantages),
        )
        values = torch.zeros_like(rewards.values[:, 0])
        values[trained] = advantages.to(values)
        return Advantages(
            values=values,
            trained=trained,
            z=scores.z.to(rewards.values),
            metrics=diagnose(rewards, scores, trained, aggregate, advantages),
        )

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

    def _counted(self, rewards: Rewards, scores: GroupScores) -> Tensor:
        """[N, M] bool: the scores that make a row worth comparing."""
        return rewards.used if self.missing == "sum" else rewards.used & scores.present

    def _totals(self, rewards: Rewards, scores: GroupScores) -> Tensor:
        """[N], float64."""
        values = rewards.values.double()
        if self.missing == "neutral":
            values = values.where(scores.present, scores.mean.where(scores.compared, 0.0))
        return (rewards.weights.double() * values).sum(dim=1)
