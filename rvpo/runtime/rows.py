"""Rows of scored steps, laid together and taken out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from itertools import accumulate, chain
from typing import TypeVar

import torch

from rvpo.types import Rewards, RolloutScores

T = TypeVar("T")


def stacked(parts: Sequence[RolloutScores]) -> RolloutScores:
    """The rows of several parts under each other. All must have the same columns and aspects;
    metrics and agreements are left behind."""
    sizes = [len(part.rewards.values) for part in parts]
    starts = list(accumulate(sizes, initial=0))[:-1]
    return RolloutScores(
        rewards=_stacked_rewards([part.rewards for part in parts]),
        failures=_stacked([part.failures for part in parts], starts),
        spared=_stacked([part.spared for part in parts], starts),
        aspects={
            name: torch.cat([part.aspects[name] for part in parts]) for name in parts[0].aspects
        },
        remarks=_stacked([part.remarks for part in parts], starts),
    )


def picked(scored: RolloutScores, groups: Sequence[int]) -> RolloutScores:
    """Some groups, in the order given, without metrics and agreements."""
    rewards = scored.rewards
    size = rewards.group_size
    chosen = [group * size + row for group in groups for row in range(size)]
    places = {row: place for place, row in enumerate(chosen)}
    index = torch.tensor(chosen, dtype=torch.long, device=rewards.values.device)
    ids, reliability = rewards.prompts, rewards.reliability
    return RolloutScores(
        rewards=replace(
            rewards,
            values=rewards.values[index],
            weights=rewards.weights[index],
            valid=rewards.valid[index],
            prompts=None if ids is None else tuple(ids[group] for group in groups),
            reliability=None if reliability is None else reliability[index],
        ),
        failures=_moved(scored.failures, places),
        spared=_moved(scored.spared, places),
        aspects={name: mask[index] for name, mask in scored.aspects.items()},
        remarks=_moved(scored.remarks, places),
    )


def _stacked_rewards(parts: Sequence[Rewards]) -> Rewards:
    ids = [part.prompts for part in parts]
    known = [prompts for prompts in ids if prompts is not None]
    relied = [part.reliability for part in parts if part.reliability is not None]
    return replace(
        parts[0],
        values=torch.cat([part.values for part in parts]),
        weights=torch.cat([part.weights for part in parts]),
        valid=torch.cat([part.valid for part in parts]),
        prompts=tuple(chain(*known)) if len(known) == len(parts) else None,
        reliability=torch.cat(relied) if len(relied) == len(parts) else None,
    )


def _stacked(
    parts: Sequence[Mapping[tuple[int, int], T]], starts: Sequence[int]
) -> dict[tuple[int, int], T]:
    """Values by (row, column), with rows counted over all parts."""
    return {
        (row + start, column): value
        for part, start in zip(parts, starts, strict=True)
        for (row, column), value in part.items()
    }


def _moved(
    values: Mapping[tuple[int, int], T], places: Mapping[int, int]
) -> dict[tuple[int, int], T]:
    """Values by (row, column), with rows where they are; those of other rows are left out."""
    return {
        (places[row], column): value for (row, column), value in values.items() if row in places
    }
