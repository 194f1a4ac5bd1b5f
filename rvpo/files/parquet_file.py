"""Rows of Parquet files, with the types that the file states."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from rvpo.errors import DataError
from rvpo.runtime.extras import Need, require


def read_parquet(path: Path, where: str, group: int | None = None) -> Iterator[dict[str, Any]]:
    """Each row of a file, or of one of its row groups, as Python's own values.

    A timestamp is a `datetime` here, a date a `date`, a decimal a `Decimal` and bytes are
    `bytes`, for the file says that they are; text stays text, and what it says is JSON is what
    `json.loads` makes of it.

    Args:
        where: begins every message.
        group: number of the row group, from 0; all of them if None.

    Raises:
        ConfigError: pyarrow is not installed.
        DataError: the file cannot be read, or holds what Python has no value for.
    """
    require(where, Need("data"))
    import pyarrow as pa  # type: ignore[import-untyped]
    import pyarrow.parquet as pq  # type: ignore[import-untyped]

    try:
        with pq.ParquetFile(path) as file:
            for batch in file.iter_batches(
                batch_size=1024, row_groups=None if group is None else [group]
            ):
                batch.validate(full=True)
                yield from _decoded(batch.to_pylist(maps_as_pydicts="strict"), batch.schema)
    # Dates beyond Python's calendar overflow; a zone that it does not know is a KeyError; JSON can
    # be nested too deep.
    except (
        pa.ArrowException,
        OSError,
        ValueError,
        OverflowError,
        KeyError,
        RecursionError,
    ) as error:
        reason = (str(error).strip() or type(error).__name__).splitlines()[0]
        raise DataError(f"{where} cannot be read ({reason})") from error


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
        reason = (str(error).strip() or type(error).__name__).splitlines()[0]
        raise DataError(f"{where} cannot be read ({reason})") from error


def _decoded(rows: list[dict[str, Any]], schema: Any) -> list[dict[str, Any]]:
    said = [field for field in schema if "arrow.json" in str(field.type)]
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
