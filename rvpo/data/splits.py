"""The prompts of a run: those it trains on, and those that are held out."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from rvpo.config.data import Source
from rvpo.config.run import RunConfig
from rvpo.data.mixture import Mixture
from rvpo.data.packed import Joined, Prompts
from rvpo.data.shares import Shares
from rvpo.data.sources import load_prompts, named
from rvpo.data.streamed import Streamed
from rvpo.errors import DataError
from rvpo.rubrics import RubricSource
from rvpo.rubrics.overlap import without_held_out
from rvpo.runtime.ignore import ignore
from rvpo.types import Prompt

ReadSource = Callable[[Source, str], Sequence[Prompt]]
"""Reader of the prompts of a source, given also the setting that holds it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SourcePrompts:
    """The prompts of one source."""

    setting: str
    """The one that holds the source, such as "data.train[1]"."""
    place: str
    """The setting and the file that they are from, for messages."""
    prompts: Sequence[Prompt]
    revision: str | None = None
    """Commit of the Hub dataset that they are from."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Splits:
    """The prompts of a run."""

    train: Sequence[Prompt]
    held_out: Sequence[Prompt]
    """Those that are scored; none where nothing is held out."""
    train_parts: tuple[SourcePrompts, ...] = ()
    """The same prompts by source."""
    held_out_parts: tuple[SourcePrompts, ...] = ()
    """The same prompts by source."""

    @staticmethod
    def of(
        train: Sequence[SourcePrompts],
        held_out: Sequence[SourcePrompts],
        shares: tuple[float, ...] = (),
    ) -> Splits:
        """The prompts of these sources.

        Args:
            shares: one of each source to train on; none where each prompt counts the same.
        """
        parts = tuple(part.prompts for part in train)
        return Splits(
            train=Mixture(parts, Shares(shares)) if shares else _joined(parts),
            held_out=_joined(tuple(part.prompts for part in held_out)),
            train_parts=tuple(train),
            held_out_parts=tuple(held_out),
        )

    @property
    def parts(self) -> tuple[SourcePrompts, ...]:
        """Every source, those of training first."""
        return (*self.train_parts, *self.held_out_parts)

    @property
    def every(self) -> Sequence[Prompt]:
        """All prompts, those of training first."""
        return Joined((self.train, self.held_out))

    @property
    def by_place(self) -> dict[str, Sequence[Prompt]]:
        """The prompts of each source, by the setting and the file that they are from."""
        return {part.place: part.prompts for part in self.parts}

    @property
    def by_setting(self) -> dict[str, Sequence[Prompt]]:
        """The prompts of each source by its setting; none in `data.held_out` without one."""
        nothing: dict[str, Sequence[Prompt]] = {} if self.held_out_parts else {"data.held_out": ()}
        return {part.setting: part.prompts for part in self.parts} | nothing

    @property
    def revisions(self) -> dict[str, str]:
        """The commit of each Hub dataset, by the setting of the source."""
        return {part.setting: part.revision for part in self.parts if part.revision is not None}


def read_splits(
    config: RunConfig,
    say: Callable[[str], None] = ignore,
    load: ReadSource | None = None,
    tools: Sequence[Mapping[str, Any]] = (),
) -> Splits:
    """Read the prompts of a run.

    Args:
        say: told what rubrics hold, and what was left out.
        load: reads a source; `load_prompts` with the settings of the run if left out.
        tools: those of the environment.

    Raises:
        ConfigError, DataError: see `load_prompts`; or every prompt is held out.
    """
    data = config.data

    def of_run(source: Source, where: str) -> Sequence[Prompt]:
        return load_prompts(
            source, data.system_prompt, where, say, data.prefill, config.seed, tools
        )

    load = of_run if load is None else load
    train = _parts(data.train_sources, load)
    held_out = _parts(data.held_out_sources, load)
    asked = _joined(tuple(part.prompts for part in held_out))
    if held_out:
        rubrics = {n for n, each in data.train_sources.items() if isinstance(each, RubricSource)}
        train = [_not_held_out(p, asked, say) if p.setting in rubrics else p for p in train]
    scored = _first(held_out, config.evaluate.prompts)
    return Splits.of(train, scored, data.shares if all(p.prompts for p in train) else ())


def _parts(sources: dict[str, Source], load: ReadSource) -> list[SourcePrompts]:
    parts = []
    for setting, source in sources.items():
        prompts = load(source, setting)
        revision = prompts.revision if isinstance(prompts, Prompts | Streamed) else None
        place = f"{setting}{named(source)}"
        parts.append(
            SourcePrompts(setting=setting, place=place, prompts=prompts, revision=revision)
        )
    return parts


def _joined(parts: tuple[Sequence[Prompt], ...]) -> Sequence[Prompt]:
    """The prompts of one source are they themselves."""
    return parts[0] if len(parts) == 1 else Joined(parts) if parts else ()


def _first(parts: Sequence[SourcePrompts], count: int | None) -> list[SourcePrompts]:
    """The parts with the first so many prompts of all."""
    if count is None:
        return list(parts)
    found = []
    for part in parts:
        found.append(replace(part, prompts=part.prompts[:count]))
        count -= min(count, len(part.prompts))
    return found


def _not_held_out(
    part: SourcePrompts, held_out: Sequence[Prompt], say: Callable[[str], None]
) -> SourcePrompts:
    """The prompts without the questions that rubric data sets have in several splits.

    Raises:
        DataError: no question is left.
    """
    kept, removed = without_held_out(part.prompts, held_out)
    if removed:
        say(f"{part.setting}: left out {removed:,} prompts that are held out as well")
    if part.prompts and not kept:
        raise DataError(f"{part.setting}: every prompt is held out as well; give different splits")
    return replace(part, prompts=kept)
