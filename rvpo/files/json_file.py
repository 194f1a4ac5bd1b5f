"""Rows of JSON files, each exactly what `json.loads` makes of it."""

from __future__ import annotations

import json
import re
from array import array
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, Final

from rvpo.errors import DataError
from rvpo.files.opened import kind_of, opened

LINES: Final = (".jsonl", ".ndjson")
"""Suffixes of files with a row on each line."""
_BOM = b"\xef\xbb\xbf"
_HALF = re.compile(r"\\u[dD][89a-fA-F]")
"""Half of a character outside Unicode's first plane, as JSON writes it; two make a whole one."""
_JSON = {dict: "an object", list: "a list", str: "a text", bool: "a truth value"}


def read_json(path: Path, where: str) -> Iterator[dict[str, Any] | DataError]:
    """Each row of a file of JSON lines, or of one that holds a list of rows or a single row. A line
    or an item that is no row is an error in its place.

    Args:
        where: begins every message.

    Raises:
        DataError: the file cannot be read.
    """
    begins = _begins(path, where)
    # Tools that write a row over several lines do not call the file .jsonl.
    if begins == b"[" or (begins == b"{" and kind_of(path) not in LINES):
        try:
            yield from _document(file_bytes(path, where).removeprefix(_BOM), where)
            return
        except _NoDocument as error:
            if begins == b"[":
                raise DataError(f"{where}: is not a list of rows in JSON ({error})") from None
    with opened(path, where) as file:
        for _, row in _lines(file, where, _FORM):
            yield row


_FORM: Final = 'write one {"name": value, ...} a line'


def json_lines(
    lines: Iterable[bytes], where: str, form: str = _FORM
) -> Iterator[tuple[int, dict[str, Any]]]:
    """The number of each line, from 1, and the row on it. Blank lines hold none.

    Args:
        lines: a binary file's: text would also break at the other line ends that JSON may hold.
        where: begins every message.
        form: ends every message; what a line should be.

    Raises:
        DataError: a line is not UTF-8, not JSON or no object, or no text can hold it.
    """
    for number, row in _lines(lines, where, form):
        if isinstance(row, DataError):
            raise row
        yield number, row


def _lines(
    lines: Iterable[bytes], where: str, form: str
) -> Iterator[tuple[int, dict[str, Any] | DataError]]:
    for number, line in enumerate(lines, start=1):
        raw = line.removeprefix(_BOM) if number == 1 else line
        if not raw.strip():
            continue
        try:
            row: dict[str, Any] | DataError = json_row(raw, f"{where}, line {number}", form)
        except DataError as error:
            row = error
        yield number, row


def json_row(line: bytes, where: str, form: str = _FORM) -> dict[str, Any]:
    """The row on a line.

    Raises:
        DataError: see `json_lines`.
    """
    try:
        row = _value(line)
    except _NoDocument as error:
        raise DataError(f"{where}: is {error}; {form}") from None
    if not isinstance(row, dict):
        raise DataError(f"{where}: is {_kind(row)}; {form}")
    return row


def line_starts(path: Path, where: str) -> array[int] | None:
    """The place of the first byte of each line that is not blank; None where a row is not a line.

    Args:
        path: a file that is not compressed.
        where: begins every message.

    Raises:
        DataError: the file cannot be read.
    """
    if kind_of(path) not in LINES or _begins(path, where) == b"[":
        return None
    starts, place = array("q"), 0
    with opened(path, where) as file:
        for line in file:
            if not line.isspace() and line != _BOM:
                starts.append(place)
            place += len(line)
    return starts


def row_at(path: Path, start: int, where: str) -> dict[str, Any]:
    """The row on the line that begins at a place of a file.

    Raises:
        DataError: the file cannot be read any more, or the line is no row.
    """
    with opened(path, where) as file:
        file.seek(start)
        line = file.readline()
    line = line if start else line.removeprefix(_BOM)
    try:
        return json_row(line, where)
    except DataError:
        return json_row(line, f"{where}, line {_number(path, start, where)}")


def _number(path: Path, start: int, where: str) -> int:
    """The number of the line that begins at a place, from 1."""
    with opened(path, where) as file:
        return 1 + sum(1 for _ in iter(lambda: file.tell() < start and file.readline(), False))


def file_bytes(path: Path, where: str) -> bytes:
    """Content of a file, decompressed.

    Raises:
        DataError: it cannot be read.
    """
    with opened(path, where) as file:
        return file.read()


def _begins(path: Path, where: str) -> bytes:
    """First character of a file that is no white space."""
    with opened(path, where) as file:
        for number, line in enumerate(file):
            text = (line.removeprefix(_BOM) if number == 0 else line).lstrip()
            if text:
                return text[:1]
        return b""


class _NoDocument(ValueError):
    """Bytes that cannot be read as JSON; the words say what they are instead."""


def _document(raw: bytes, where: str) -> Iterator[dict[str, Any] | DataError]:
    value = _value(raw)
    rows = [value] if isinstance(value, dict) else value
    for number, row in enumerate(rows, start=1):
        if isinstance(row, dict):
            yield row
        else:
            yield DataError(f"{where}: item {number} of the list is {_kind(row)}; give objects")


def _value(raw: bytes) -> Any:
    try:
        text = raw.decode()
        value = json.loads(text)
        if _HALF.search(text):
            json.dumps(value, ensure_ascii=False).encode()
    except UnicodeDecodeError as error:
        raise _NoDocument(f"not text in UTF-8 ({error.reason} at byte {error.start})") from None
    except UnicodeEncodeError as error:
        half = f"\\u{ord(error.object[error.start]):04x}"
        raise _NoDocument(
            f"no text that can be written, as {half} is half a character: a surrogate alone"
        ) from None
    # Besides what is no JSON: nested too deep, or a whole number of thousands of digits.
    except (ValueError, RecursionError) as error:
        reason = str(error).partition(";")[0].partition(" while ")[0]
        raise _NoDocument(f"not JSON ({reason})") from None
    return value


def _kind(value: Any) -> str:
    return "null" if value is None else _JSON.get(type(value), "a number")
