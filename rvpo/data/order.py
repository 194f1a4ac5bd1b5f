"""The order in which training visits prompts."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import islice
from typing import Protocol

from rvpo.data.visits import epoch_size, first_of, visits
from rvpo.runtime.seed import derived_seed
from rvpo.types import Prompt

Telling = Mapping[str, float]
"""Share of the weight of a prompt's rewards in which its samples differed, in [0, 1], by the id of
the prompt: 0 where they taught nothing."""


class PromptOrder(Protocol):
    """Prompts of each step, as far as those who sample know it. Every rank has the same."""

    def at(self, step: int) -> tuple[Prompt, ...]:
        """The prompts of a step. Steps are asked for in order."""
        ...

    def instead(self, step: int, turn: int, count: int) -> tuple[Prompt, ...]:
        """Prompts that take the place of others of a step that is not concluded.

        Args:
            turn: 0 for the first that are replaced in the step, 1 for those replaced next, ….
            count: number of them.
        """
        ...

    def conclude(self, step: int, telling: Sequence[Telling]) -> dict[str, float]:
        """Remember what the groups of a finished step told, those of all ranks; metrics of the
        order.

        Args:
            telling: that of the step's prompts first, then of those that took the place of some.
        """
        ...

    def epochs(self, steps: int) -> float:
        """Epochs over the prompts in so many steps."""
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

    def instead(self, step: int, turn: int, count: int) -> tuple[Prompt, ...]:
        """See `PromptOrder.instead`. They come from an order of their own, so that the steps to
        come do not depend on how many were replaced."""
        return chosen_instead(self.others(step, turn), self.at(step), count)

    def others(self, step: int, turn: int) -> Iterator[Prompt]:
        """Prompts that may take the place of some of a step, without end."""
        apart = replace(self, seed=derived_seed(self.seed, "instead", turn))
        return apart.visits(step * self.per_step)

    def conclude(self, step: int, telling: Sequence[Telling]) -> dict[str, float]:
        """See `PromptOrder.conclude`. It goes by nothing that was found out."""
        return {}

    def first(self, count: int) -> Sequence[Prompt]:
        """The prompts of the first epoch in the order in which they are visited, at most all."""
        return first_of(self.prompts, self.seed, count)

    def epochs(self, steps: int) -> float:
        """Epochs over the prompts in so many steps: TRL's `epoch`, where its batches divide the
        prompts; of others it leaves the rest of each epoch out."""
        size = epoch_size(self.prompts)
        return steps * self.per_step / size if size else 0.0


def chosen_instead(
    others: Iterator[Prompt], taken: Sequence[Prompt], count: int
) -> tuple[Prompt, ...]:
    """The first `count` prompts that a step does not have yet; where it soon has all of them, the
    next ones, whichever they are.

    Args:
        others: without end.
        taken: prompts of the step.
    """
    known, found = {prompt.id for prompt in taken}, list[Prompt]()
    for prompt in islice(others, len(taken) + count):
        if len(found) == count:
            break
        if prompt.id not in known:
            found.append(prompt)
            known.add(prompt.id)
    return tuple(found) + tuple(islice(others, count - len(found)))
