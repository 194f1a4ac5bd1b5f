"""The prompts of a run that it reads as tokens before it starts."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from rvpo.config.run import RunConfig
from rvpo.data.order import PromptStream
from rvpo.data.packed import Joined, Picked
from rvpo.data.splits import Splits
from rvpo.types import Prompt

MANY: Final = 1 << 15
"""Prompts to train on that are read as tokens whether they are visited or not: seconds."""


@dataclass(frozen=True, slots=True)
class Visited:
    """All prompts of a usual run; of a larger data set those that its steps may visit."""

    every: Sequence[Prompt]
    """Those to be read, the held-out ones among them."""
    fixed: int | None
    """Number of them, from the first on, that are the same ones for any number of steps; None
    where these are all prompts of the run."""


def visited(config: RunConfig, prompts: Splits, many: int = MANY) -> Visited:
    """Choose the prompts whose tokens are counted before anything is spent on them.

    Args:
        many: number that are read in any case; of more, the first that the run visits.
    """
    if len(prompts.train) <= many:
        return Visited(prompts.every, None)
    per_step = config.rollout.sampled_prompts
    stream, visits = PromptStream(prompts.train, per_step, config.seed), config.steps * per_step
    first, order = stream.first(many), stream.first(max(many, visits))
    later = Picked(order, range(len(first), len(order)))
    instead = [stream.apart(turn).first(visits) for turn in range(config.rollout.resample)]
    every = Joined((first, prompts.held_out, later, *instead))
    return Visited(every, len(first) + len(prompts.held_out))
