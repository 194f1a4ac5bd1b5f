"""Rubric Dropout: GRPO's sum over a part of the criteria, another part in each step.

    D = the floor(fraction M) of a prompt's M criteria that a hash of (prompt, step) picks
    s = sum_{j not in D} w_j r_j / sum_{j not in D} w_j
    A = (s - mean_G s) / (std_G s + eps)

Yang et al. 2026, arXiv:2608.11669. A policy that pleases a judge by a few criteria loses them every
other step, so that it does better to be good. All samples of a prompt share the mask, so that they
stay comparable.

Known from summaries of the paper: the floor, the hash of the prompt's id and the step, fractions of
.3 to .5, and, from a re-implementation, that 3 criteria stay. The paper drops criteria of positive
weight alone; weights here are never negative, for a rubric's polarity is in its verdicts. Its step
is `progress` here: equal in a run that was resumed, another one if the number of steps changes.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from hashlib import sha256
from typing import TYPE_CHECKING, Literal

from rvpo.advantage.aggregate import Aggregate, weighted_mean
from rvpo.advantage.missing import Reading
from rvpo.advantage.score import ScoreEstimator
from rvpo.lazy import torch
from rvpo.types import Rewards

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True, kw_only=True)
class RubricDropout(ScoreEstimator):
    """A = z-score in the group of the mean of the scores that are not dropped. arXiv:2608.11669.

    A sample that has no score but those of dropped rewards is not trained on. Rewards that nothing
    compares in the group are not counted among the M.

    Raises:
        ValueError: fraction or keep is outside its range, or another setting is.
    """

    name: Literal["rubric_dropout"] = "rubric_dropout"
    whiten: bool = False
    """Scale the advantages of a step to mean 0 and standard deviation 1."""
    fraction: float = 0.5
    """Share of a prompt's weighted rewards that is dropped, rounded down; from 0 to below 1."""
    keep: int = 3
    """Fewest rewards that a prompt keeps, if it has as many."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if not 0 <= self.fraction < 1:
            raise ValueError(f"fraction must lie in [0, 1), got {self.fraction}")
        if self.keep < 1:
            raise ValueError(f"keep must be at least 1, got {self.keep}")

    def read_at(self, rewards: Rewards, progress: float) -> Reading:
        """See `ScoreEstimator`.

        Args:
            rewards: all samples of the step; prompts without ids share one mask.
            progress: picks the mask, with the prompt's id.
        """
        reading = self.read(rewards)
        kept = ~self.dropped(reading, progress)
        usable = reading.usable & kept
        return replace(
            reading,
            usable=usable,
            counted=reading.counted & kept,
            trained=reading.trained & usable.any(dim=1),
        )

    def dropped(self, reading: Reading, progress: float) -> Tensor:
        """[N, M] bool, the same for all samples of a prompt."""
        names, prompts = reading.rewards.names, reading.rewards.prompts
        size, channels = reading.rewards.group_size, len(names)
        groups = reading.usable.reshape(-1, size, channels).any(dim=1)  # [P, M]
        mask = torch.zeros_like(groups)
        for g, there in enumerate(groups.tolist()):
            prompt = "" if prompts is None else prompts[g]
            lots = sorted(
                (_lot(prompt, progress, names[j]), j) for j in range(channels) if there[j]
            )
            spare = max(0, len(lots) - self.keep)
            drawn = lots[: min(spare, int(self.fraction * len(lots)))]
            mask[g, [j for _, j in drawn]] = True
        return mask.repeat_interleave(size, dim=0)

    def aggregate(self, values: Tensor, weights: Tensor, progress: float) -> Aggregate:
        """See `ScoreEstimator`."""
        return weighted_mean(values, weights)


def _lot(prompt: str, progress: float, reward: str) -> bytes:
    """Bytes whose lowest are dropped; of the name, so that the order of columns is nothing."""
    return sha256(f"{prompt}\0{float(progress)!r}\0{reward}".encode()).digest()
