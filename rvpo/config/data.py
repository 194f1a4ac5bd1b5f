"""The rows of a run: where they come from, and the column of their prompts."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Annotated, Any, Final, Literal, Self, get_args

from pydantic import BeforeValidator, Discriminator, Field, Tag, model_validator

from rvpo.config.order import AnyOrder, PlainOrder
from rvpo.config.prompts import PromptColumns
from rvpo.errors import nearest
from rvpo.fields import CellType, ImportPath, PathText, PositiveInt, Section, by_name
from rvpo.files.source_section import SourceSection, StoredSection
from rvpo.rubrics import RubricFormat, RubricSource

OverlongRule = Literal["refuse", "drop", "truncate_left"]
"""Treatments of a prompt that leaves no room for a full completion."""

_ROUNDING: Final = 0.01
"""Sums of shares may differ from 1 by so much: a third is .33."""


class FunctionSource(SourceSection, PromptColumns):
    """Rows made by a Python function."""

    function: ImportPath
    """`module:function` returning a sequence of rows, each a dict with a prompt column."""
    arguments: dict[str, Any] = Field(default_factory=dict)
    """Keyword arguments for the function. `{variable: NAME}` at any depth is what the environment
    holds under that name, which is how a function gets a key."""


class DatasetSource(StoredSection, PromptColumns):
    """Rows of files or of a Hub dataset."""

    path: PathText
    """A .jsonl, .ndjson, .json, .parquet, .csv or .tsv file, those of text also as .gz, .bz2 or
    .xz; a pattern such as `rows-*.jsonl`; a folder of such files; a Hub dataset id, or
    `hf://datasets/OWNER/NAME/FILE`."""
    types: dict[str, CellType] = Field(default_factory=dict)
    """Types of columns of a .csv or .tsv file, whose cells are text: `int`, `float` or `json`."""
    streaming: bool = False
    """Rows are read when their step comes, and few of them are in memory at a time."""
    buffer: PositiveInt = 10_000
    """Rows of a stream that are held to be shuffled. Lines of a .jsonl file on this machine need
    none: they are read in an order of all of them."""


def _without_others(value: Any) -> Any:
    """A source with rubrics, without the settings of other formats that are null."""
    if not isinstance(value, Mapping):
        return value
    formats = get_args(RubricFormat)
    known = {name for each in formats for name in each.model_fields}
    own = {
        name
        for each in formats
        if value.get("format") in get_args(each.model_fields["format"].annotation)
        for name in each.model_fields
    }
    return {k: v for k, v in value.items() if v is not None or k in own or k not in known}


def _kind_of_source(value: Any) -> str | None:
    if isinstance(value, Section):
        return "RubricSource" if isinstance(value, RubricSource) else type(value).__name__
    kinds = {"function": "FunctionSource", "path": "DatasetSource", "rubrics": "RubricSource"}
    keys = value if isinstance(value, dict) else {}
    meant = {name for key in keys if (name := nearest(str(key), list(kinds)))}
    return kinds[meant.pop()] if len(meant) == 1 else None


Source = Annotated[
    Annotated[FunctionSource, Tag("FunctionSource")]
    | Annotated[DatasetSource, Tag("DatasetSource")]
    | Annotated[
        RubricFormat,
        Field(discriminator="format"),
        BeforeValidator(_without_others),
        Tag("RubricSource"),
    ],
    Discriminator(
        _kind_of_source,
        custom_error_type="source",
        custom_error_message="must be a table with exactly one of `function` (rows made by "
        "Python), `path` (a file or a Hub dataset) and `rubrics` (the same, with criteria)",
    ),
]


def _one_or_several(value: Any) -> str:
    return "several" if isinstance(value, list | tuple) else "one"


Sources = Annotated[
    Annotated[Source, Tag("one")] | Annotated[tuple[Source, ...], Tag("several")],
    Discriminator(_one_or_several),
]
"""One source, or a list of several."""


def by_setting(sources: Sources | None, where: str) -> dict[str, Source]:
    """Each source by the setting that holds it, such as "data.train" or "data.train[1]".

    Args:
        where: the setting of all of them.
    """
    if isinstance(sources, tuple):
        return {f"{where}[{number}]": source for number, source in enumerate(sources)}
    return {} if sources is None else {where: sources}


class DataConfig(Section):
    train: Sources
    """Prompts to train on, visited in a seeded order, epoch after epoch: one source, or a list of
    several."""
    order: Annotated[AnyOrder, Field(discriminator="name"), BeforeValidator(by_name)] = PlainOrder()
    """Order in which they are visited: its name alone, or with its settings."""
    held_out: Sources | None = None
    """Prompts scored before and after training, never trained on: one source, or a list of
    several."""
    system_prompt: str | None = None
    """System message for every prompt that brings none of its own."""
    prefill: str = ""
    """Text that begins every answer, such as "<think>\\n": the model goes on behind it. It is part
    of the prompt, as with TRL: what reward functions are handed begins behind it."""
    too_long: OverlongRule = "refuse"
    """Treatment of prompts that leave no room for a full completion: `refuse` the run, `drop` them
    and say how many, or `truncate_left`, which cuts off so many of their first tokens."""

    @property
    def train_sources(self) -> dict[str, Source]:
        """Sources of the prompts to train on, by setting."""
        return by_setting(self.train, "data.train")

    @property
    def held_out_sources(self) -> dict[str, Source]:
        """Sources of the prompts that are held out, by setting."""
        return by_setting(self.held_out, "data.held_out")

    @property
    def shares(self) -> tuple[float, ...]:
        """Share of each source to train on; none where the sizes of the sources decide."""
        given = [source.share for source in self.train_sources.values()]
        return tuple(share for share in given if share is not None)

    @property
    def streams(self) -> tuple[str, ...]:
        """Settings of the sources whose rows are read when their step comes."""
        every = self.train_sources | self.held_out_sources
        return tuple(n for n, s in every.items() if isinstance(s, DatasetSource) and s.streaming)

    @model_validator(mode="after")
    def _has_shares(self) -> Self:
        problems = list(self._problems())
        if problems:
            raise ValueError("\n".join(problems))
        return self

    def _problems(self) -> Iterator[str]:
        for name, sources in (("train", self.train), ("held_out", self.held_out)):
            if sources == ():
                yield f"{name}: an empty list; give at least one source"
        if any(source.share is not None for source in self.held_out_sources.values()):
            yield "held_out: every held-out prompt is scored; leave `share` out"
        yield from self._stream_problems()
        shares = self.shares
        if shares and not isinstance(self.train, tuple):
            yield "train.share: there is one source; leave it out, or give a list of several"
        elif shares and len(shares) < len(self.train_sources):
            lacking = [n for n, source in self.train_sources.items() if source.share is None]
            yield f"train: {', '.join(lacking)} has no share; give each source one, or none"
        elif shares and abs(sum(shares) - 1) > _ROUNDING:
            yield f"train: the shares add up to {sum(shares):g}; make them add up to 1"

    def _stream_problems(self) -> Iterator[str]:
        for where in self.streams:
            if where in self.held_out_sources:
                yield (
                    f"{where.removeprefix('data.')}.streaming: held-out prompts are the same ones "
                    "each time and are kept in memory; leave it out"
                )
        if not self.streams:
            return
        if self.too_long == "refuse":
            yield (
                "too_long: a prompt of a stream that is too long would be met on the way; write "
                "too_long: drop, or truncate_left"
            )
        if len(self.train_sources) > 1 and not self.shares:
            yield "train: how many rows a stream has is not known; give each source a share"
