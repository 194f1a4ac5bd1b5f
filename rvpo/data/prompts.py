"""Rows of data to prompts, and the order in which training visits them."""

from __future__ import annotations

import random
from array import array
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

from rvpo.data.packed import Picked
from rvpo.types import Prompt


@dataclass(frozen=True)
class PromptStream:
    """Prompts without end: each epoch visits all of them once, in an order of its own.

    The stream has no state. Which prompts a step gets follows from the step alone, so a resumed
    run goes on exactly where it stopped. A batch may reach from one epoch into the next.

    Args:
        prompts: one or more.
        per_step: P, at least 1.
        seed: decides the order; the same on every machine.

    Raises:
        ValueError: there are no prompts or `per_step` is less than 1.
    """

    prompts: Sequence[Prompt]
    per_step: int
    seed: int

    def __post_init__(self) -> None:
        if not self.prompts or self.per_step < 1:
            raise ValueError(
                f"a stream needs prompts and at least 1 per step, got {len(self.prompts)} prompts "
                f"and {self.per_step} per step"
            )

    def at(self, step: int) -> tuple[Prompt, ...]:
        """The [P] prompts of step 0, 1, …"""
        size, first = len(self.prompts), step * self.per_step
        return tuple(
            self.prompts[_order(size, self.seed, n // size)[n % size]]
            for n in range(first, first + self.per_step)
        )

    def first(self, count: int) -> Sequence[Prompt]:
        """The prompts of the first epoch in the order in which they are visited, at most all."""
        return Picked(self.prompts, _order(len(self.prompts), self.seed, 0)[:count])

    def epochs(self, steps: int) -> float:
        """Epochs over the prompts in so many steps: TRL's `epoch`, where its batches divide the
        prompts; of others it leaves the rest of each epoch out."""
        return steps * self.per_step / len(self.prompts)


@lru_cache(maxsize=2)  # a step begins in one epoch and may end in the next
def _order(size: int, seed: int, epoch: int) -> Sequence[int]:
    order = array("q", range(size))
    # Seeded by text, which Python hashes with SHA-512: every process gets the same order.
    random.Random(f"{seed}/{epoch}").shuffle(order)
    return order
