"""Rows of files, of a folder of files, or of a Hub dataset."""

from __future__ import annotations

import glob
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from rvpo.errors import DataError
from rvpo.fields import CellType
from rvpo.files.hub_dataset import hub_dataset
from rvpo.files.opened import kind_of
from rvpo.files.shard import KINDS, Shard, StoredRows
from rvpo.runtime.hub import is_hub_id

_CLONES = {"rlla_4k": "https://github.com/qiancheng0/ToolRL"}
"""Repositories that bring data, by a folder in them."""
_HUB_FILE: Final = re.compile(r"hf://datasets/([^/@]+/[^/@]+)(?:@([^/]+))?/?(.*)")
"""Address of a file in a Hub dataset, as the Hub's libraries write it."""


def stored(
    name: str,
    split: str,
    where: str,
    types: Mapping[str, CellType] | None = None,
    subset: str | None = None,
    revision: str | None = None,
) -> StoredRows:
    """The rows that a name leads to. Of files nothing is read yet.

    Rows of a file are what the file says and nothing guessed: those of JSON as `json.loads` reads
    them, cells of CSV as text, values of Parquet with the types that it states.

    Args:
        name: a file, a pattern of files, a folder, a Hub dataset id, or `hf://datasets/` with one
            and a file in it.
        split: a Hub dataset's, or that of a folder.
        where: the setting that holds the name, for messages.
        types: type of each column of a CSV file that is not to stay text.
        subset: a Hub dataset's.
        revision: a Hub dataset's.

    Raises:
        DataError: it does not exist, is of an unknown kind, or cannot be read or reached.
    """
    types = types or {}
    if found := _HUB_FILE.fullmatch(name):
        owner, commit, file = found.groups()
        return hub_dataset(owner, split, where, types, subset, commit or revision, file or None)
    path = Path(name).expanduser()
    if not is_there(path, where):
        if files := _matching(path):
            return StoredRows([_shard(file, where, types) for file in files])
        if kind_of(path) in KINDS:
            raise _no_file(path, where)
    elif path.is_dir():
        # A relative one such as "json" is the name of a reader to the library.
        return hub_dataset(str(path.absolute()), split, where, types, subset)
    else:
        return StoredRows([_shard(path, where, types)])
    if not is_hub_id(name):
        raise DataError(
            f"{where}: there is no file '{name}'; give a file in {', '.join(KINDS)}, a folder of "
            "such files, or a Hub dataset id"
        )
    return hub_dataset(name, split, where, types, subset, revision)


def stored_rows(
    name: str,
    split: str,
    where: str,
    types: Mapping[str, CellType] | None = None,
    subset: str | None = None,
    revision: str | None = None,
) -> list[Any]:
    """All rows of `stored`.

    Raises:
        DataError: see `stored`; or a row cannot be read.
    """
    return list(stored(name, split, where, types, subset, revision).rows())


def needs_extra(name: str) -> bool:
    """True where `stored` would read this with what the extra `data` brings."""
    path = Path(name).expanduser()
    try:
        if path.is_dir():
            return True
    except OSError:  # which reading it will say
        return False
    kind = kind_of(path)
    is_far = _HUB_FILE.fullmatch(name) is not None or (kind not in KINDS and is_hub_id(name))
    return kind == ".parquet" or is_far


def _matching(path: Path) -> Sequence[Path]:
    """The files that a pattern names, by name; none where a path is no pattern."""
    if not glob.has_magic(str(path)):
        return ()
    found = map(Path, sorted(glob.glob(str(path), recursive=True)))
    return [file for file in found if file.is_file()]


def _shard(path: Path, where: str, types: Mapping[str, CellType]) -> Shard:
    said, kind = f"{where}: '{path}'", kind_of(path)
    if kind not in KINDS:
        raise DataError(f"{said} is of an unknown kind; give a file in {', '.join(KINDS)}")
    if not path.is_file():
        raise DataError(f"{said} is no file to be read; give one that is")
    if types and kind not in (".csv", ".tsv"):
        raise DataError(f"{said} has types of its own; `types` are for .csv files")
    return Shard(said, lambda: [path], kind, types)


def _no_file(path: Path, where: str) -> DataError:
    sources = [address for folder, address in _CLONES.items() if folder in path.parts]
    others = f", or get it with: git clone {sources[0]}" if sources else ""
    what = "no file is named" if glob.has_magic(str(path)) else "there is no file"
    return DataError(f"{where}: {what} '{path}'; give the path of an existing one{others}")


def is_there(path: Path, where: str) -> bool:
    """True where anything stands at a path.

    Raises:
        DataError: the system cannot look, as with a name that is too long.
    """
    try:
        return path.exists()
    except OSError as error:
        raise DataError(f"{where}: '{path}' cannot be read ({error.strerror})") from error
