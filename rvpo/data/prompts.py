"""Rows of data to prompts, and the order in which training visits them."""

from __future__ import annotations

import random
from array import array
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from rvpo.config.data import DatasetSource, FunctionSource, Source
from rvpo.data.packed import Picked, Prompts
from rvpo.data.reader import Reader
from rvpo.data.rows import function_rows
from rvpo.errors import DataError
from rvpo.files.stored import each_row
from rvpo.rubrics import RubricSource
from rvpo.types import Prompt


def load_prompts(
    source: Source,
    system_prompt: str | None,
    where: str,
    say: Callable[[str], None] | None = None,
) -> Prompts:
    """Every prompt of a source, in its order.

    A row's prompt column is a string, which becomes one user message, or a list of chat
    messages. All other columns become `Prompt.columns`, None where a row lacks one. A column
    `tools` holds the functions that the chat template shows the model. A column `id` gives the
    prompt its id; without one the id is the row's number, from 0.

    Args:
        source: origin of the rows.
        system_prompt: put before every prompt that has no system message.
        where: the setting that holds the source, for messages.
        say: told what rubrics hold and what was left out of them.

    Raises:
        DataError: the source cannot be read, is empty, or has a row that is no prompt.
        ConfigError: the source is a function that does not import.
    """
    column = "prompt"
    rows: Iterable[Any]
    match source:
        case FunctionSource():
            rows, column = function_rows(source, where), source.prompt_column
        case DatasetSource():
            rows = each_row(source.path, source.split, f"{where}.path", source.types, source.subset)
            column = source.prompt_column
        case RubricSource():
            rows, report = source.rows(where)
            if say is not None:
                say(f"{where}: {report}")
    read = Reader(column, system_prompt, where, f"{where}{named(source)}")
    prompts = Prompts.of(read(rows), packed=isinstance(source, DatasetSource))
    if not prompts:
        raise DataError(f"{where}: there are no rows; give at least one")
    return prompts


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


def named(source: Source) -> str:
    """Path of its rows in brackets, to be put behind the setting in a message; empty for a
    function."""
    match source:
        case FunctionSource():
            return ""
        case DatasetSource():
            return f" ('{source.path}')"
        case RubricSource():
            return f" ('{source.rubrics}')"
