"""Rows of data to prompts, and the order in which training visits them."""

from __future__ import annotations

import random
from array import array
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from rvpo.data.messages import check_turn, read_messages, read_tools, shown, with_system
from rvpo.data.packed import Picked
from rvpo.errors import DataError, nearest
from rvpo.types import STANDARD_ARGUMENTS, Prompt


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


@dataclass(frozen=True)
class Reader:
    """Rows of a source to prompts."""

    column: str
    """Name of the one that holds the prompt."""
    system_prompt: str | None
    setting: str
    source: str
    """The setting and the path of its rows, for messages."""

    def __call__(self, rows: Iterable[Any]) -> Iterator[Prompt]:
        seen: set[str] = set()
        for index, row in enumerate(rows):
            prompt = self._prompt(index, row)
            if prompt.id in seen:
                raise DataError(
                    f"{self.source}: two rows have the id '{prompt.id}'; make ids unique"
                )
            seen.add(prompt.id)
            yield prompt

    def _prompt(self, index: int, row: Any) -> Prompt:
        where = f"{self.source}: row {index}"
        self._check(row, where)
        place = f"{where}, '{self.column}'"
        messages = read_messages(row[self.column], place)
        check_turn(messages, place)
        return Prompt(
            id=_id(row.get("id", index), where),
            messages=with_system(messages, self.system_prompt),
            columns={name: value for name, value in row.items() if name != self.column},
            tools=read_tools(row.get("tools"), f"{where}, 'tools'"),
        )

    def _check(self, row: Any, where: str) -> None:
        if not isinstance(row, Mapping):
            raise DataError(f"{where} is a {type(row).__name__}; rows must be dicts")
        if self.column not in row:
            guess = nearest(self.column, [str(name) for name in row])
            meant = f"; did you mean '{guess}'?" if guess else ""
            at = where.removeprefix(self.setting)
            raise DataError(
                f"{self.setting}.prompt_column{at} has no column '{self.column}', it has "
                f"{', '.join(map(str, row)) or 'none'}{meant}"
            )
        for name in STANDARD_ARGUMENTS:
            if name in row and name != self.column:
                raise DataError(
                    f"{where}, column '{name}' has a name that reward functions know as something "
                    "else; rename the column"
                )


def _id(value: Any, where: str) -> str:
    if isinstance(value, bool) or not isinstance(value, str | int):
        raise DataError(f"{where}: the id is {shown(value)}; give text or a whole number")
    return str(value)
