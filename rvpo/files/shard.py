"""Rows in one or many files, each file read when its turn comes."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import chain
from pathlib import Path
from typing import Any, Final

from rvpo.fields import CellType
from rvpo.files.csv_file import each_csv
from rvpo.files.json_file import read_json
from rvpo.files.opened import kind_of
from rvpo.files.parquet_file import read_parquet
from rvpo.files.raising import raising

KINDS: Final = (".jsonl", ".json", ".parquet", ".csv", ".tsv", ".ndjson")
"""Suffixes of files of rows."""


@dataclass(frozen=True, slots=True)
class Shard:
    """A file of rows, or an archive of some, which may first have to be fetched."""

    said: str
    """Begins every message about it."""
    locate: Callable[[], Sequence[Path]]
    """Fetches what is not here yet; the files, decompressed where `opened` would not do it."""
    kind: str | None = None
    """Suffix that tells what is in the files; that of each file's own name if None."""
    types: Mapping[str, CellType] = field(default_factory=dict)
    """See `read_csv`."""
    delimiter: str | None = None
    """Character between cells; as the kind has it if None."""
    is_here: bool = True
    """The file is on this machine already."""

    def rows(self) -> Iterator[Any]:
        """Each row, in order.

        Raises:
            DataError: a file cannot be fetched or read, or a row of it is none.
        """
        return raising(self.each())

    def each(self) -> Iterator[Any]:
        """Each row, in order; one that cannot be read is an error in its place.

        Raises:
            DataError: a file cannot be fetched or read.
        """
        return chain.from_iterable(map(self._rows_of, self.locate()))

    def _rows_of(self, path: Path) -> Iterator[Any]:
        kind = self.kind or kind_of(path)
        match kind:
            case ".csv" | ".tsv":
                usual = "\t" if kind == ".tsv" else ","
                return each_csv(path, self.said, self.types, self.delimiter or usual)
            case ".parquet":
                return read_parquet(path, self.said)
            case _:
                return read_json(path, self.said)


@dataclass(frozen=True, slots=True)
class StoredRows:
    """Rows that lie in files, in their order."""

    shards: Sequence[Shard]
    revision: str | None = None
    """Commit of the Hub dataset that has them; None where they are from elsewhere."""
    loaded: Sequence[Any] | None = None
    """The rows where they are no whole files, or of kinds that other libraries read."""

    def rows(self) -> Iterator[Any]:
        """Each row, in order.

        Raises:
            DataError: a file cannot be fetched or read.
        """
        if self.loaded is not None:
            return iter(self.loaded)
        return chain.from_iterable(shard.rows() for shard in self.shards)
