"""Rows of a file or of a Hub dataset."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from rvpo.errors import DataError
from rvpo.fields import CellType
from rvpo.files.csv_file import read_csv
from rvpo.files.hub_dataset import hub_rows
from rvpo.files.json_file import read_json
from rvpo.files.parquet_file import read_parquet
from rvpo.runtime.hub import is_hub_id

_KINDS = (".jsonl", ".json", ".parquet", ".csv")
_CLONES = {"rlla_4k": "https://github.com/qiancheng0/ToolRL"}
"""Repositories that bring data, by a folder in them."""


def stored_rows(
    name: str,
    split: str,
    where: str,
    types: Mapping[str, CellType] | None = None,
    subset: str | None = None,
) -> list[Any]:
    """Read a file or a Hub dataset.

    Rows of a file are what the file says and nothing guessed: those of JSON as `json.loads` reads
    them, cells of CSV as text, values of Parquet with the types that it states.

    Args:
        name: the path or the id.
        split: a Hub dataset's.
        where: the setting that holds the name, for messages.
        types: type of each column of a CSV file that is not to stay text.
        subset: a Hub dataset's.

    Raises:
        DataError: it does not exist, is of an unknown kind, or cannot be read or reached.
    """
    return list(each_row(name, split, where, types, subset))


def each_row(
    name: str,
    split: str,
    where: str,
    types: Mapping[str, CellType] | None = None,
    subset: str | None = None,
) -> Iterator[Any]:
    """The rows of `stored_rows` one after the other, a file's never all at once."""
    path = Path(name).expanduser()
    kind = path.suffix.lower()
    if kind in _KINDS:
        if types and kind != ".csv":
            raise DataError(f"{where}: '{name}' has types of its own; `types` are for .csv files")
        yield from _file_rows(path, where, types or {})
        return
    known = ", ".join(_KINDS)
    if is_there(path, where):
        what = "is a folder; give one" if path.is_dir() else "is of an unknown kind; give a"
        raise DataError(f"{where}: '{name}' {what} file in {known}")
    if not is_hub_id(name):
        raise DataError(
            f"{where}: there is no file '{name}'; give a file in {known} or a Hub dataset id"
        )
    yield from hub_rows(name, split, where, types, subset)


def needs_extra(name: str) -> bool:
    """True where `stored_rows` would read this with what the extra `data` brings."""
    kind = Path(name).suffix.lower()
    return kind == ".parquet" or (kind not in _KINDS and is_hub_id(name))


def _file_rows(path: Path, where: str, types: Mapping[str, CellType]) -> Iterable[Any]:
    if not is_there(path, where):
        sources = [address for folder, address in _CLONES.items() if folder in path.parts]
        others = f", or get it with: git clone {sources[0]}" if sources else ""
        raise DataError(
            f"{where}: there is no file '{path}'; give the path of an existing one{others}"
        )
    if not path.is_file():
        raise DataError(f"{where}: '{path}' is no file to be read; give one that is")
    source = f"{where}: '{path}'"
    if path.stat().st_size == 0:
        return []
    match path.suffix.lower():
        case ".csv":
            return read_csv(path, source, types)
        case ".parquet":
            return read_parquet(path, source)
        case _:
            return read_json(path, source)


def is_there(path: Path, where: str) -> bool:
    """True where anything stands at a path.

    Raises:
        DataError: the system cannot look, as with a name that is too long.
    """
    try:
        return path.exists()
    except OSError as error:
        raise DataError(f"{where}: '{path}' cannot be read ({error.strerror})") from error
