"""The order in which training visits prompts."""

from __future__ import annotations

import random
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import islice
from typing import Any, Protocol

from rvpo.data.visits import epoch_size, first_of, visits
from rvpo.runtime.seed import derived_seed
from rvpo.types import Prompt

Told = tuple[str, float]
"""A prompt's id, and how much its group told: the share of the weight of its rewards in which its
samples differed, in [0, 1]; 0 where they taught nothing."""


class PromptOrder(Protocol):
    """Prompts of each step, and what their groups told of them. Every rank has the same."""

    def at(self, step: int) -> tuple[Prompt, ...]:
        """The prompts of a step. Steps are asked for in order, and again until concluded."""
        ...

    def instead(self, step: int, turn: int, count: int) -> tuple[Prompt, ...]:
        """Prompts that take the place of others of a step.

        Args:
            turn: 0 for those that come first in the place of others, 1 for the next, ….
            count: number of them.
        """
        ...

    def conclude(self, step: int, told: Sequence[Told]) -> dict[str, float]:
        """Remember what all groups of a step told, those in the place of others too, of all ranks.

        Returns:
            Metrics of the order.
        """
        ...

    def epochs(self, steps: int) -> float:
        """Epochs over the prompts in so many steps."""
        ...

    # What steps have found out is carried over resumes, as `trainer.carried` does.

    @property
    def name(self) -> str:
        """The name of its state in a checkpoint."""
        ...

    def state(self) -> dict[str, Any]:
        """Everything that it remembers, as JSON holds it; empty where that is nothing."""
        ...

    def restore(self, state: Mapping[str, Any]) -> None:
        """Go on from a `state`."""
        ...


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

    name = "order"

    def __post_init__(self) -> None:
        if not self.prompts or self.per_step < 1:
            raise ValueError(
                f"a stream needs prompts and at least 1 per step, got {len(self.prompts)} prompts "
                f"and {self.per_step} per step"
            )

    def at(self, step: int) -> tuple[Prompt, ...]:
        """The [P] prompts of step 0, 1, …"""
        return tuple(islice(self.visits(step * self.per_step), self.per_step))

    def visits(self, first: int = 0) -> Iterator[Prompt]:
        """Every prompt from a place on, in the order in which they are visited, without end."""
        return visits(self.prompts, self.seed, first)

    def apart(self, turn: int) -> PromptStream:
        """The stream of prompts that take the place of others; see `PromptOrder.instead`.

        It has an order of its own: no step depends on how many prompts another one replaced.
        """
        return replace(self, seed=derived_seed(self.seed, "instead", turn))

    def instead(self, step: int, turn: int, count: int) -> tuple[Prompt, ...]:
        """See `PromptOrder.instead`."""
        apart = self.apart(turn)
        first = step * self.per_step + apart.skipped(step)
        return others(apart.visits(first), self.at(step), count)

    def skipped(self, step: int) -> int:
        """Visits of a step that are left out before those that take the place of others, by chance.

        Sources take turns in the same way in each step. Were it always the first visits, those
        whose turns come late would have less than their share.
        """
        return random.Random(derived_seed(self.seed, "skipped", step)).randrange(self.per_step)

    def conclude(self, step: int, told: Sequence[Told]) -> dict[str, float]:
        """See `PromptOrder.conclude`. It goes by nothing that is told."""
        return {}

    def first(self, count: int) -> Sequence[Prompt]:
        """The prompts of the first epoch in the order in which they are visited, at most all."""
        return first_of(self.prompts, self.seed, count)

    def epochs(self, steps: int) -> float:
        """Epochs over the prompts in so many steps: TRL's `epoch`, where its batches divide the
        prompts; of others it leaves the rest of each epoch out."""
        size = epoch_size(self.prompts)
        return steps * self.per_step / size if size else 0.0

    def state(self) -> dict[str, Any]:
        """See `PromptOrder.state`: nothing."""
        return {}

    def restore(self, state: Mapping[str, Any]) -> None:
        """See `PromptOrder.restore`. The state of another order has no part in this one."""


def others(visits: Iterator[Prompt], taken: Sequence[Prompt], count: int) -> tuple[Prompt, ...]:
    """The next prompts that are not among those taken; where there soon are no such ones, the next
    ones, whichever they are.

    Args:
        visits: prompts without end.
        count: number of them.
    """
    known, found = {prompt.id for prompt in taken}, list[Prompt]()
    for prompt in islice(visits, 2 * (len(taken) + count)):
        if len(found) == count:
            break
        if prompt.id not in known:
            found.append(prompt)
            known.add(prompt.id)
    return tuple(found) + tuple(islice(visits, count - len(found)))
