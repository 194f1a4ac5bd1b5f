"""The prompts of a run: those it trains on, and those that are held out."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from rvpo.config.data import Source
from rvpo.config.run import RunConfig
from rvpo.data.packed import Joined, Prompts
from rvpo.data.sources import load_prompts, named
from rvpo.errors import DataError
from rvpo.rubrics import RubricSource
from rvpo.rubrics.overlap import without_held_out
from rvpo.runtime.ignore import ignore
from rvpo.types import Prompt

ReadSource = Callable[[Source, str], Sequence[Prompt]]
"""Reader of the prompts of a source, given also the setting that holds it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Splits:
    """The prompts of a run."""

    train: Sequence[Prompt]
    held_out: Sequence[Prompt]
    """Those that are scored; none where nothing is held out."""
    places: tuple[str, ...]
    """Settings and files that `train` and `held_out` are from, for messages."""

    @property
    def every(self) -> Sequence[Prompt]:
        """All prompts, those of training first."""
        return Joined((self.train, self.held_out))

    @property
    def by_place(self) -> dict[str, Sequence[Prompt]]:
        """The prompts of each source, by the setting and the file that they are from."""
        return dict(zip(self.places, (self.train, self.held_out), strict=False))


def read_splits(
    config: RunConfig, say: Callable[[str], None] = ignore, load: ReadSource | None = None
) -> Splits:
    """Read the prompts of a run.

    Args:
        say: told what rubrics hold, and what was left out.
        load: reads a source; `load_prompts` with the settings of the run if left out.

    Raises:
        ConfigError, DataError: see `load_prompts`; or every prompt is held out.
    """
    data = config.data

    def of_run(source: Source, where: str) -> Prompts:
        return load_prompts(source, data.system_prompt, where, say, data.prefill)

    load = of_run if load is None else load
    train = load(data.train, "data.train")
    held_out: Sequence[Prompt] = ()
    places = [f"data.train{named(data.train)}"]
    if data.held_out is not None:
        places.append(f"data.held_out{named(data.held_out)}")
        held_out = load(data.held_out, "data.held_out")
        if isinstance(data.train, RubricSource):
            train = _not_held_out(train, held_out, say)
    held_out = held_out[: config.evaluate.prompts]
    return Splits(train=train, held_out=held_out, places=tuple(places))


def _not_held_out(
    train: Sequence[Prompt], held_out: Sequence[Prompt], say: Callable[[str], None]
) -> Sequence[Prompt]:
    """The prompts without the questions that rubric data sets have in several splits.

    Raises:
        DataError: no question is left.
    """
    kept, removed = without_held_out(train, held_out)
    if removed:
        say(f"data.train: left out {removed:,} prompts that are held out as well")
    if train and not kept:
        raise DataError("data.train: every prompt is held out as well; give different splits")
    return kept
