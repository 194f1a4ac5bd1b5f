"""The groups of a step, by how much their scores tell of the samples."""

from __future__ import annotations

from rvpo.advantage.group import standardise
from rvpo.lazy import torch
from rvpo.types import RolloutScores


def telling(scored: RolloutScores) -> list[float | None]:
    """[P] share of the weight of each group's rewards in which its samples differ.

    A reward has a part in it if two of the samples have its score and it carries weight; one that
    was asked of a few of them, since it told none apart for long, has one that tells nothing. A
    group of 0 is *dead*: whatever the estimator, its advantages are 0. None stands where scores
    are missing that failed, and those that there are tell nothing.
    """
    rewards = scored.rewards
    size = rewards.group_size
    groups = standardise(rewards.values, rewards.valid, size, eps=1.0)
    weights = rewards.weights.double().clone()
    differs = groups.comparable & ~groups.constant & (weights > 0)
    failed = torch.zeros_like(rewards.valid)
    for place in scored.failures:
        failed[place] = True
    lost = failed & ~groups.comparable & (weights > 0)
    counts = groups.comparable.clone()
    for place, spared in scored.spared.items():
        weights[place], counts[place] = spared, True

    def of_group(rows: torch.Tensor) -> torch.Tensor:
        return rows.reshape(-1, size, rows.shape[1]).amax(dim=1)

    weight = of_group(weights.where(counts, 0.0)).sum(dim=1)
    told = of_group(weights.where(differs, 0.0)).sum(dim=1)
    unknown = (told == 0) & of_group(lost.int()).any(dim=1)
    shares = (told / weight.where(weight > 0, 1.0)).tolist()
    return [
        None if hidden else share for share, hidden in zip(shares, unknown.tolist(), strict=True)
    ]
