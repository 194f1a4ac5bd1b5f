"""Rows of Parquet files, with the types that the file states."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from rvpo.errors import DataError
from rvpo.runtime.extras import Need, require


def read_parquet(path: Path, where: str, group: int | None = None) -> Iterator[Any]:
    """Each row of a file, or of one of its row groups, as Python's own values; one that holds what
    Python has no value for is an error in its place.

    A timestamp is a `datetime` here, a date a `date`, a decimal a `Decimal` and bytes are
    `bytes`, for the file says that they are; text stays text, and what it says is JSON is what
    `json.loads` makes of it.

    Args:
        where: begins every message.
        group: number of the row group, from 0; all of them if None.

    Raises:
        ConfigError: pyarrow is not installed.
        DataError: the file cannot be read.
    """
    require(where, Need("data"))
    import pyarrow.parquet as pq  # type: ignore[import-untyped]

    failures = _failures()
    try:
        with pq.ParquetFile(path) as file:
            for batch in file.iter_batches(
                batch_size=1024, row_groups=None if group is None else [group]
            ):
                try:
                    rows: list[Any] = _decoded(batch)
                except failures:
                    rows = [_alone(batch.slice(at, 1), where) for at in range(batch.num_rows)]
                yield from rows
    except failures as error:
        raise _unread(where, error) from error


def _failures() -> tuple[type[Exception], ...]:
    """Dates beyond Python's calendar overflow; a zone that it does not know is a KeyError; JSON can
    be nested too deep."""
    import pyarrow as pa

    return (pa.ArrowException, OSError, ValueError, OverflowError, KeyError, RecursionError)


def _unread(where: str, error: Exception) -> DataError:
    reason = (str(error).strip() or type(error).__name__).splitlines()[0]
    return DataError(f"{where} cannot be read ({reason})")


def _alone(batch: Any, where: str) -> dict[str, Any] | DataError:
    """The row of a batch of one."""
    try:
        return _decoded(batch)[0]
    except _failures() as error:
        return _unread(where, error)


def count_groups(path: Path, where: str) -> int:
    """Row groups of a file.

    Raises:
        ConfigError, DataError: see `read_parquet`.
    """
    require(where, Need("data"))
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        return int(pq.read_metadata(path).num_row_groups)
    except (pa.ArrowException, OSError) as error:
        raise _unread(where, error) from error


def _decoded(batch: Any) -> list[dict[str, Any]]:
    batch.validate(full=True)
    rows: list[dict[str, Any]] = batch.to_pylist(maps_as_pydicts="strict")
    said = [field for field in batch.schema if "arrow.json" in str(field.type)]
    for row in rows:
        row.update({field.name: _value(row[field.name], field.type) for field in said})
    return rows


def _value(value: Any, kind: Any) -> Any:
    """A value of a type that holds JSON, at any depth."""
    import pyarrow as pa

    if value is None:
        return None
    if isinstance(kind, pa.JsonType):
        return json.loads(value)
    if pa.types.is_struct(kind):
        return {field.name: _value(value[field.name], field.type) for field in kind}
    if pa.types.is_map(kind):
        return {key: _value(item, kind.item_type) for key, item in value.items()}
    if pa.types.is_nested(kind):
        return [_value(item, kind.value_type) for item in value]
    return value
