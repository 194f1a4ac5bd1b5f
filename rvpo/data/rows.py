"""Where rows of data come from: a Python function, a file, or the Hub."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rvpo.errors import DataError
from rvpo.imports import import_function

if TYPE_CHECKING:
    from rvpo.config import FunctionSource

_READERS = {".jsonl": "json", ".json": "json", ".parquet": "parquet", ".csv": "csv"}
_CLONES = {"rlla_4k": "https://github.com/qiancheng0/ToolRL"}
"""Repositories that bring data, by a folder in them."""
_HUB_ID = re.compile(r"[A-Za-z0-9][\w.-]*(/[A-Za-z0-9][\w.-]*)?")


def function_rows(source: FunctionSource, where: str) -> list[Any]:
    """Call the function of a source.

    Raises:
        ConfigError: it does not import.
        DataError: it raised, or did not return rows.
    """
    function = import_function(source.function, f"{where}.function")
    try:
        rows = function(**source.arguments)
    except Exception as error:  # the user's code, which can raise anything
        raise DataError(
            f"{where}.function: {source.function} failed: {type(error).__name__}: {error}"
        ) from error
    if not isinstance(rows, Iterable) or isinstance(rows, str | Mapping):
        raise DataError(
            f"{where}.function: {source.function} returned a value of type "
            f"{type(rows).__name__}; return a list of rows, each a dict"
        )
    return [_plain(row) for row in rows]


def stored_rows(name: str, split: str, where: str) -> list[Any]:
    """Read a file or a Hub dataset.

    Args:
        name: the path or the id.
        split: of a Hub dataset.
        where: the setting that holds the name, for messages.

    Raises:
        DataError: it does not exist, is of an unknown kind, or cannot be read or reached.
    """
    path = Path(name).expanduser()
    if path.suffix in _READERS:
        return _file_rows(path, where)
    known = ", ".join(_READERS)
    if path.is_file():
        raise DataError(f"{where}: '{name}' is of an unknown kind; give a file in {known}")
    if path.is_dir():
        raise DataError(f"{where}: '{name}' is a folder; give one file in {known}")
    if not _HUB_ID.fullmatch(name):
        raise DataError(
            f"{where}: there is no file '{name}'; give a file in {known} or a Hub dataset id"
        )
    return _hub_rows(name, split, where)


def _file_rows(path: Path, where: str) -> list[Any]:
    from datasets import load_dataset_builder
    from datasets.exceptions import DatasetGenerationError

    if not path.is_file():
        sources = [address for folder, address in _CLONES.items() if folder in path.parts]
        others = f", or get it with: git clone {sources[0]}" if sources else ""
        raise DataError(
            f"{where}: there is no file '{path}'; give the path of an existing one{others}"
        )
    if set(str(path)) & set("*?["):
        raise DataError(
            f"{where}: '{path}' reads as a pattern for several files; rename it without * ? ["
        )
    if path.stat().st_size == 0:
        return []
    try:
        builder = load_dataset_builder(_READERS[path.suffix], data_files=str(path))
        builder.download_and_prepare()
    except (DatasetGenerationError, OSError, ValueError) as error:
        cause = error.__cause__ or error
        reason = (str(cause).strip() or type(cause).__name__).splitlines()[0]
        raise DataError(f"{where}: '{path}' cannot be read ({reason})") from error
    # datasets fails when asked for the split of a file without rows.
    empty = not any(split.num_examples for split in (builder.info.splits or {}).values())
    return [] if empty else list(builder.as_dataset("train"))


def _hub_rows(name: str, split: str, where: str) -> list[Any]:
    from datasets import load_dataset
    from datasets.exceptions import DatasetsError

    try:
        return list(load_dataset(name, split=split))
    except (DatasetsError, OSError, ValueError) as error:
        reason = (str(error).strip() or type(error).__name__).splitlines()[0]
        raise DataError(
            f"{where}: the Hub dataset '{name}', split '{split}', cannot be loaded "
            f"({reason}); check the id and the network, or fetch it where there is one: hf "
            f"download {name} --repo-type dataset --local-dir FOLDER, then {where}=FOLDER/FILE"
        ) from error


def _plain(value: Any) -> Any:
    """numpy arrays and numbers as Python's own, however deep; everything else as it is."""
    import numpy as np

    if isinstance(value, np.generic):
        return value.item()
    if isinstance(value, np.ndarray):
        return _plain(value.tolist())
    if isinstance(value, Mapping):
        return {key: _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    return value
