"""The sources of a run's prompts, read from where they lie."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from rvpo.config.data import DatasetSource, FunctionSource, Source
from rvpo.config.prompts import PromptColumns
from rvpo.data.packed import Prompts
from rvpo.data.reader import Reader
from rvpo.data.rows import function_rows
from rvpo.errors import DataError
from rvpo.files.stored import each_row
from rvpo.rubrics import RubricSource


def load_prompts(
    source: Source,
    system_prompt: str | None,
    where: str,
    say: Callable[[str], None] | None = None,
    prefill: str = "",
) -> Prompts:
    """Every prompt of a source, in its order.

    `PromptColumns` says what of a row is its prompt. All other columns become `Prompt.columns`,
    None where a row lacks one. A column `id` gives the prompt its id; without one the id is the
    row's number, from 0.

    Args:
        source: origin of the rows.
        system_prompt: put before every prompt that has no system message.
        where: the setting that holds the source, for messages.
        say: told what rubrics hold and what was left out of them, and how prompts are read.
        prefill: text that begins every answer.

    Raises:
        DataError: the source cannot be read, is empty, or has a row that is no prompt.
        ConfigError: the source is a function that does not import.
    """
    rows: Iterable[Any]
    match source:
        case FunctionSource():
            rows = function_rows(source, where)
        case DatasetSource():
            rows = each_row(source.path, source.split, f"{where}.path", source.types, source.subset)
        case RubricSource():
            rows, report = source.rows(where)
            if say is not None:
                say(f"{where}: {report}")
    columns = source if isinstance(source, PromptColumns) else PromptColumns()
    read = Reader(columns, system_prompt, where, f"{where}{named(source)}", prefill)
    prompts = Prompts.of(read(rows), packed=isinstance(source, DatasetSource))
    if not prompts:
        raise DataError(f"{where}: there are no rows; give at least one")
    if say is not None:
        for note in read.notes():
            say(f"{where}: {note}")
    return prompts


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
