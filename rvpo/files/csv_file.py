"""Rows of CSV files: every cell is the text that stands there, unless more is asked for."""

from __future__ import annotations

import csv
import io
import json
import re
import sys
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, get_args

from rvpo.errors import DataError, nearest
from rvpo.fields import CellType
from rvpo.files.opened import opened
from rvpo.files.raising import raising

_WHOLE = re.compile(r"\s*[+-]?[0-9]+\s*")


def read_csv(
    path: Path, where: str, types: Mapping[str, CellType], delimiter: str = ","
) -> Iterator[dict[str, Any]]:
    """Each row of a file with a header.

    Args:
        where: begins every message.
        types: types of columns whose cells do not stay text; None where such a cell is empty.
        delimiter: the character between cells.

    Raises:
        DataError: the file cannot be read, a row has another number of cells than the header, a
            column is there twice or not at all, or a cell is not of its type.
    """
    return raising(each_csv(path, where, types, delimiter))


def each_csv(
    path: Path, where: str, types: Mapping[str, CellType], delimiter: str = ","
) -> Iterator[dict[str, Any] | DataError]:
    """The rows of `read_csv`; one that cannot be read is an error in its place.

    Raises:
        DataError: the file cannot be read, or a column is there twice or not at all.
    """
    # Python's own limit of 128 KiB is less than a long document in a cell.
    csv.field_size_limit(sys.maxsize)
    try:
        with (
            opened(path, where) as raw,
            io.TextIOWrapper(raw, encoding="utf-8-sig", newline="") as file,
        ):
            lines = _lines(csv.reader(file, strict=True, delimiter=delimiter), where)
            header = next(lines, (0, []))[1]
            if isinstance(header, DataError):
                raise header
            _check_header(header, types, where)
            for number, cells in lines:
                yield _row(cells, header, types, f"{where}, line {number}")
    except UnicodeDecodeError as error:
        raise DataError(
            f"{where} cannot be read (it is not text in UTF-8: {error.reason})"
        ) from None


def _row(
    cells: list[str] | DataError, header: list[str], types: Mapping[str, CellType], where: str
) -> dict[str, Any] | DataError:
    if isinstance(cells, DataError):
        return cells
    if len(cells) != len(header):
        return DataError(
            f"{where}: has {len(cells)} cells, and the header has {len(header)}; put a "
            "cell that holds a comma or a line end in double quotes"
        )
    named = zip(header, cells, strict=True)
    try:
        return {n: _cell(c, types.get(n), f"{where}, '{n}'") for n, c in named}
    except DataError as error:
        return error


def _lines(reader: Any, where: str) -> Iterator[tuple[int, list[str] | DataError]]:
    """Each row that is not blank, and the line on which it ends."""
    while True:
        try:
            for cells in reader:
                if cells:
                    yield reader.line_num, cells
            return
        except csv.Error as error:  # after which the reader goes on with the next line
            number = reader.line_num
            yield number, DataError(f"{where}, line {number}: is not CSV ({error})")


def _check_header(header: list[str], types: Mapping[str, CellType], where: str) -> None:
    twice = [name for name in header if header.count(name) > 1]
    if twice:
        raise DataError(f"{where}: the header names the column '{twice[0]}' twice; rename one")
    for name in types:
        if header and name not in header:
            guess = nearest(name, header)
            meant = f"did you mean '{guess}'?" if guess else f"it has {', '.join(header)}"
            raise DataError(f"{where}: types names a column '{name}' that is not there; {meant}")


def _cell(text: str, kind: CellType | None, where: str) -> Any:
    if kind is None:
        return text
    if not text.strip():
        return None
    try:
        return _READ[kind](text)
    except (ValueError, RecursionError):
        short = text if len(text) <= 40 else text[:37] + "..."
        others = ", ".join(k for k in get_args(CellType) if k != kind)
        raise DataError(
            f"{where}: {short!r} is no {kind}; correct it, or ask for another type ({others})"
        ) from None


def _int(text: str) -> int:
    if not _WHOLE.fullmatch(text):
        raise ValueError(text)
    return int(text)


def _float(text: str) -> float:
    if "_" in text:  # which Python takes as a separator of digits
        raise ValueError(text)
    return float(text)


_READ: Mapping[CellType, Callable[[str], Any]] = {"int": _int, "float": _float, "json": json.loads}
