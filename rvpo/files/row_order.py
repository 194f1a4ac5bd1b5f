"""Rows in an order that a seed decides, each read when its turn comes."""

from __future__ import annotations

import pickle
import random
from array import array
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any, Protocol

from rvpo.errors import DataError
from rvpo.files.json_file import line_starts, row_at
from rvpo.files.opened import is_compressed, kind_of
from rvpo.files.parquet_file import count_groups, read_parquet
from rvpo.files.shard import Shard, StoredRows

NumberedRow = tuple[str, Any]
"""A row, behind its number and, where there are several, that of its file. What could not be read
alone, such as one line among others, is the error in its place."""


class RowOrder(Protocol):
    """Rows of which few are in memory at a time."""

    @property
    def size(self) -> int | None:
        """Number of rows, and those that are passed over are not read; None where it takes reading
        them to tell."""
        ...

    def epoch(self, seed: str, first: int = 0) -> Iterator[NumberedRow]:
        """Every row once.

        Args:
            seed: decides the order.
            first: rows to pass over.

        Raises:
            DataError: a file cannot be fetched or read, or holds what is no row.
        """
        ...


def row_order(found: StoredRows, buffer: int, where: str) -> RowOrder:
    """The way to read rows that lie in files.

    Lines of JSON that are on this machine and not compressed are read from where they begin, in an
    order of all of them. Of other files one is read after the other, in an order of the files; of
    Parquet that is here, one row group after the other.

    Args:
        buffer: rows among which the rows of such files are shuffled.
        where: the setting of the source, for messages.

    Raises:
        DataError: the rows are no whole files, or a file cannot be read.
    """
    if found.loaded is not None:
        raise DataError(
            f"{where}.streaming: reads whole splits of .jsonl, .json, .parquet and .csv files, and "
            "these rows are a part of one, several, or of another kind; leave it out, or name one "
            "split"
        )
    starts = [_starts(shard) for shard in found.shards]
    lines = [(*each, shard.said) for each, shard in zip(starts, found.shards, strict=True) if each]
    if len(lines) == len(starts):
        return Lines(lines)
    return Pieces([piece for shard in found.shards for piece in _pieces(shard)], buffer)


@dataclass(frozen=True)
class Lines:
    """Lines of JSON in files on this machine, in an order of all of them."""

    files: Sequence[tuple[Path, array[int], str]]
    """Each file, the places at which its lines begin, and what begins messages about it."""

    @property
    def size(self) -> int:
        """See `RowOrder.size`."""
        return sum(len(starts) for _, starts, _ in self.files)

    def epoch(self, seed: str, first: int = 0) -> Iterator[NumberedRow]:
        """See `RowOrder.epoch`."""
        sizes = [len(starts) for _, starts, _ in self.files]
        order = array("q", range(self.size))
        # Seeded by text, which Python hashes with SHA-512: every process gets the same order.
        random.Random(seed).shuffle(order)
        for place in islice(order, first, None):
            file, row = 0, place
            while row >= sizes[file]:
                file, row = file + 1, row - sizes[file]
            path, starts, said = self.files[file]
            try:
                found: Any = row_at(path, starts[row], said)
            except DataError as error:
                found = error
            yield str(place), found


@dataclass(frozen=True)
class Pieces:
    """Rows of files that are read from their beginnings, in an order of the files and, within a
    buffer, of the rows."""

    pieces: Sequence[Callable[[], Iterable[Any]]]
    buffer: int

    @property
    def size(self) -> None:
        """See `RowOrder.size`."""
        return None

    def epoch(self, seed: str, first: int = 0) -> Iterator[NumberedRow]:
        """See `RowOrder.epoch`."""
        chance = random.Random(seed)
        order = list(range(len(self.pieces)))
        chance.shuffle(order)
        held: list[bytes | NumberedRow] = []
        for packed in self._packed(order):
            if len(held) < self.buffer:
                held.append(packed)
                continue
            place = chance.randrange(self.buffer)
            packed, held[place] = held[place], packed
            if first:
                first -= 1
                continue
            yield _unpacked(packed)
        chance.shuffle(held)
        yield from map(_unpacked, held[first:])

    def _packed(self, order: Sequence[int]) -> Iterator[bytes | NumberedRow]:
        """The rows in few bytes, for many are held at a time."""
        for number in order:
            for row, value in enumerate(self.pieces[number]()):
                name = f"{number}/{row}" if len(order) > 1 else str(row)
                try:
                    yield pickle.dumps((name, value), pickle.HIGHEST_PROTOCOL)
                except RecursionError:  # JSON may be nested deeper than pickle goes
                    yield name, value


def _unpacked(held: bytes | NumberedRow) -> NumberedRow:
    return held if isinstance(held, tuple) else pickle.loads(held)


def _starts(shard: Shard) -> tuple[Path, array[int]] | None:
    """The file and the places at which its lines begin; None where they cannot be told."""
    path = _plain_file(shard)
    starts = line_starts(path, shard.said) if path is not None else None
    return None if path is None or starts is None else (path, starts)


def _plain_file(shard: Shard) -> Path | None:
    if not shard.is_here:
        return None
    paths = shard.locate()
    return paths[0] if len(paths) == 1 and not is_compressed(paths[0]) else None


def _pieces(shard: Shard) -> Iterator[Callable[[], Iterable[Any]]]:
    path = _plain_file(shard)
    if path is None or (shard.kind or kind_of(path)) != ".parquet":
        yield shard.each
        return
    for group in range(count_groups(path, shard.said)):
        yield partial(read_parquet, path, shard.said, group)
