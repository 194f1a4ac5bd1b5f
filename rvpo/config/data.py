"""The rows of a run: where they come from, and the column of their prompts."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, get_args

from pydantic import BeforeValidator, Discriminator, Field, Tag

from rvpo.config.order import AnyOrder, PlainOrder
from rvpo.errors import nearest
from rvpo.fields import CellType, ImportPath, PathText, Section, by_name
from rvpo.rubrics import RubricFormat, RubricSource


class FunctionSource(Section):
    """Rows made by a Python function."""

    function: ImportPath
    """`module:function` returning a sequence of rows, each a dict with a prompt column."""
    arguments: dict[str, Any] = Field(default_factory=dict)
    """Keyword arguments for the function. `{variable: NAME}` at any depth is what the environment
    holds under that name, which is how a function gets a key."""
    prompt_column: str = "prompt"
    """The column that holds the prompt: a string, or a list of chat messages."""


class DatasetSource(Section):
    """Rows of a file or of a Hub dataset."""

    path: PathText
    """A .jsonl, .json, .parquet or .csv file, or a Hub dataset id."""
    split: str = "train"
    """Split of a Hub dataset; files have one only."""
    subset: str | None = None
    """Configuration of a Hub dataset that has several, as its page calls them."""
    prompt_column: str = "prompt"
    """The column that holds the prompt: a string, or a list of chat messages."""
    types: dict[str, CellType] = Field(default_factory=dict)
    """Types of columns of a .csv file, whose cells are text: `int`, `float` or `json`."""


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


class DataConfig(Section):
    train: Source
    """Prompts to train on, visited in a seeded order, epoch after epoch."""
    order: Annotated[AnyOrder, Field(discriminator="name"), BeforeValidator(by_name)] = PlainOrder()
    """Order in which they are visited: its name alone, or with its settings."""
    held_out: Source | None = None
    """Prompts scored before and after training, never trained on."""
    system_prompt: str | None = None
    """System message for every prompt that brings none of its own."""
