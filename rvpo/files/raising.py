"""Rows of files among which some could not be read."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import TypeVar

from rvpo.errors import DataError

RowT = TypeVar("RowT")


def raising(rows: Iterable[RowT | DataError]) -> Iterator[RowT]:
    """The rows up to the first that could not be read, which is raised.

    Raises:
        DataError: the one in the place of a row.
    """
    for row in rows:
        if isinstance(row, DataError):
            raise row
        yield row
