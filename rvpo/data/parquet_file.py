"""Rows of Parquet files, with the types that the file states."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from rvpo.errors import DataError


def read_parquet(path: Path, where: str) -> list[dict[str, Any]]:
    """The rows of a file, as Python's own values.

    A timestamp is a `datetime` here, a date a `date`, a decimal a `Decimal` and bytes are
    `bytes`, for the file says that they are; text stays text.

    Args:
        where: begins every message.

    Raises:
        DataError: the file cannot be read, or holds what Python has no value for.
    """
    import pyarrow as pa  # type: ignore[import-untyped]
    import pyarrow.parquet as pq  # type: ignore[import-untyped]

    rows: list[dict[str, Any]] = []
    try:
        with pq.ParquetFile(path) as file:
            for batch in file.iter_batches(batch_size=1024):
                batch.validate(full=True)
                rows += batch.to_pylist(maps_as_pydicts="strict")
    # Dates beyond Python's calendar overflow; a zone that it does not know is a KeyError.
    except (pa.ArrowException, OSError, ValueError, OverflowError, KeyError) as error:
        reason = (str(error).strip() or type(error).__name__).splitlines()[0]
        raise DataError(f"{where} cannot be read ({reason})") from error
    return rows
