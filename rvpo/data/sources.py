"""The sources of a run's prompts, read from where they lie."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Final

from rvpo.config.data import DatasetSource, FunctionSource, Source
from rvpo.config.prompts import PromptColumns
from rvpo.data.identities import Identities
from rvpo.data.packed import Prompts
from rvpo.data.reader import Reader
from rvpo.data.row_functions import RowFunctions
from rvpo.data.rows import function_rows
from rvpo.data.shares import source_seed
from rvpo.data.streamed import Streamed
from rvpo.errors import DataError
from rvpo.files.row_order import row_order
from rvpo.files.shard import StoredRows
from rvpo.files.stored import stored
from rvpo.rubrics import RubricSource
from rvpo.rubrics.report import RubricReport
from rvpo.runtime.ignore import ignore

_ONE_OF_SEVERAL: Final = re.compile(r".*\[(\d+)\]")


def load_prompts(
    source: Source,
    system_prompt: str | None,
    where: str,
    say: Callable[[str], None] | None = None,
    prefill: str = "",
    seed: int = 0,
    tools: Sequence[Mapping[str, Any]] = (),
) -> Prompts | Streamed:
    """Every prompt of a source, in its order; of one that is streamed those that come first.

    `PromptColumns` says what of a row is its prompt. All other columns become `Prompt.columns`,
    None where a row lacks one. A column `id` gives the prompt its id, as `Identities` says; without
    one the id is the row's number, from 0. Of one of several sources ids begin with its number.

    Args:
        source: origin of the rows.
        system_prompt: put before every prompt that has no system message.
        where: the setting that holds the source, for messages.
        say: told what rubrics hold and what was left out of them, and how prompts are read.
        prefill: text that begins every answer.
        seed: decides the order of a stream.
        tools: those of the environment, which every prompt shows.

    Raises:
        DataError: the source cannot be read, is empty, or has a row that is no prompt.
        ConfigError: a function does not import.
    """
    columns = source if isinstance(source, PromptColumns) else PromptColumns()
    several = _ONE_OF_SEVERAL.fullmatch(where)
    streams = isinstance(source, DatasetSource) and source.streaming
    ids = Identities(f"{several[1]}/" if several else "", tells_apart=not streams)
    read = Reader(
        columns, system_prompt, where, f"{where}{named(source)}", prefill, tuple(tools), ids
    )
    if isinstance(source, DatasetSource) and source.streaming:
        own = source_seed(seed, int(several[1])) if several else seed
        return _stream(source, read, where, own, say or ignore)
    rows, revision = _numbered(source, where, say)
    packed = isinstance(source, DatasetSource)
    prompts = Prompts.of(read(rows), packed=packed, revision=revision)
    if not prompts:
        kept = "" if isinstance(source, FunctionSource) or not source.filter else " that are kept"
        raise DataError(f"{where}: there are no rows{kept}; give at least one")
    if say is not None:
        for note in read.notes():
            say(f"{where}: {note}")
    return prompts


def _numbered(
    source: Source, where: str, say: Callable[[str], None] | None
) -> tuple[Iterable[tuple[int, Any]], str | None]:
    """Each row behind its number, and the commit of the Hub dataset that they are from."""
    if isinstance(source, FunctionSource):
        return enumerate(function_rows(source, where)), None
    chosen = RowFunctions.of(source, where)
    if isinstance(source, DatasetSource):
        found = _stored(source, where)
        return chosen(found.rows()), found.revision
    found = source.stored(where)
    rows, report = source.rows(where, [row for _, row in chosen(found.rows())])
    if say is not None:
        say(f"{where}: {report}")
    return enumerate(rows), found.revision


def rubric_report(source: RubricSource, where: str) -> RubricReport:
    """The report on the rows of a source with rubrics, those that its filter keeps.

    Raises:
        DataError, ConfigError: see `load_prompts`.
    """
    chosen = RowFunctions.of(source, where)
    return source.rows(where, [row for _, row in chosen(source.stored(where).rows())])[1]


def _stored(source: DatasetSource, where: str) -> StoredRows:
    at = f"{where}.path"
    return stored(source.path, source.split, at, source.types, source.subset, source.revision)


def _stream(
    source: DatasetSource, read: Reader, where: str, seed: int, say: Callable[[str], None]
) -> Streamed:
    files = _stored(source, where)
    if files.revision is not None:
        say(f"{where}: reads commit {files.revision} of '{source.path}'")
    found = Streamed(
        parts=(),
        rows=row_order(files, source.buffer, where),
        chosen=RowFunctions.of(source, where),
        read=read.prompt,
        where=where,
        seed=seed,
        say=say,
        revision=files.revision,
    ).started()
    read.check_named()
    for note in read.notes():
        say(f"{where}: of the first rows, {note}")
    return found


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
