"""Rows of a dataset of the Hub, read from its files as files of the machine are read."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import fields
from pathlib import Path
from typing import Any, Final

from rvpo.errors import DataError, nearest
from rvpo.fields import CellType
from rvpo.files.opened import is_compressed
from rvpo.files.shard import Shard, StoredRows
from rvpo.runtime.extras import Need, require
from rvpo.runtime.hub import hub_answers

_READ_HERE = ("csv", "json", "parquet")
"""Kinds of files whose types the `datasets` library would guess, or which it casts."""
_KINDS: Final = {"csv": ".csv", "parquet": ".parquet"}
"""Suffix of each kind whose files need not have it."""
_PATIENCE_S = 3.0
_IDENTITY = frozenset({"name", "version", "data_dir", "data_files", "description", "features"})
"""Attributes that every subset has. Types that its card declares are not those of the file: not
applied."""


def hub_dataset(
    name: str,
    split: str,
    where: str,
    types: Mapping[str, CellType] | None = None,
    subset: str | None = None,
    revision: str | None = None,
    file: str | None = None,
) -> StoredRows:
    """One split. Which files it has, says the dataset; what stands in them, they do.

    Args:
        name: the id, or a folder laid out as a dataset of the Hub.
        split: its name, or a part or a sum of some: "train[:100]", "train+test".
        where: the setting that holds the name, for messages.
        types: type of each column of CSV files that is not to stay text.
        subset: one of the dataset's configurations; its default one if None.
        revision: commit, branch or tag; its newest state if None.
        file: path of a file in it, or a pattern of some, to read in place of a subset.

    Raises:
        ConfigError: the `datasets` library is not installed.
        DataError: the dataset cannot be found or reached, has no such split or subset, or a file
            cannot be read.
    """
    at = f"{where}: {_noun(name)} '{name}'"
    require(at, Need("data"))
    from datasets import load_dataset

    with _loading(name, split, where):
        builder = _builder(name, subset, revision, file)
    kind, commit = _kind(builder), _commit(builder)
    if types and kind != "csv":
        raise DataError(f"{at} has types of its own; `types` are for .csv files")
    if kind not in _READ_HERE:
        with _loading(name, split, where):
            loaded = list(
                load_dataset(name, subset, split=split, revision=revision, data_files=file)
            )
        return StoredRows((), commit, loaded)
    delimiter = _delimiter(builder.config, at)
    files = {str(name): paths for name, paths in builder.config.data_files.items()}
    split = "+".join(files) if split == "all" else split

    def shard(stated: str) -> Shard:
        def locate() -> list[Path]:
            with _loading(name, split, where):
                return _fetched(stated)

        said = f"{where}: '{stated}'"
        is_here = Path(stated).is_file()
        return Shard(said, locate, _KINDS.get(kind), types or {}, delimiter, is_here)

    shards = {one: [shard(str(file)) for file in files[one]] for one in _splits(split, files, at)}
    if len(shards) == 1 and split in shards:
        return StoredRows(shards[split], commit)
    return StoredRows((), commit, _parts(shards, name, split, where))


def _parts(shards: Mapping[str, Sequence[Shard]], name: str, split: str, where: str) -> list[Any]:
    """The rows of a part of a split, or of several."""
    from datasets import ReadInstruction

    rows = {one: [row for shard in files for row in shard.rows()] for one, files in shards.items()}
    with _loading(name, split, where):
        asked = ReadInstruction.from_spec(split).to_absolute({n: len(r) for n, r in rows.items()})
        return [row for part in asked for row in rows[part.splitname][part.from_ : part.to]]


def _noun(name: str) -> str:
    return "the folder" if Path(name).is_dir() else "the Hub dataset"


@contextmanager
def _loading(name: str, split: str, where: str) -> Iterator[None]:
    """Turn whatever the libraries of the Hub raise into one sentence."""
    try:
        yield
    except Exception as error:  # foreign code, which raises anything
        reason = " ".join(str(error).split())[:300] or type(error).__name__
        found = f"{where}: {_noun(name)} '{name}', split '{split}', cannot be loaded ({reason})"
        if Path(name).is_dir():
            raise DataError(f"{found}; check its files, `split` and `subset`") from error
        raise DataError(
            f"{found}; "
            "check the id, `split`, `subset`, `revision` and the network, or fetch it where there "
            f"is one: hf download {name} --repo-type dataset --local-dir FOLDER, then "
            f"{where}=FOLDER/FILE"
        ) from error


def _builder(name: str, subset: str | None, revision: str | None, file: str | None) -> Any:
    """The library's builder of a subset, which knows its files; where the Hub cannot be reached, of
    those that were fetched when it could be."""
    from datasets import load_dataset_builder
    from huggingface_hub import constants, snapshot_download
    from huggingface_hub.errors import LocalEntryNotFoundError

    try:
        builder = load_dataset_builder(name, subset, revision=revision, data_files=file)
        if _kind(builder) != "cache":
            return builder
        unreached: Exception = ConnectionError(
            "without the Hub, only rows of guessed types are here"
        )
    except Exception as error:  # of whichever HTTP library the Hub's is built on
        if Path(name).is_dir():
            raise
        if not constants.HF_HUB_OFFLINE and hub_answers(_PATIENCE_S):
            raise
        unreached = error
    try:
        folder = snapshot_download(
            name, repo_type="dataset", local_files_only=True, revision=revision
        )
    except LocalEntryNotFoundError:
        raise unreached from None
    return load_dataset_builder(folder, subset, data_files=file)


def _commit(builder: Any) -> str | None:
    """The commit that a builder reads files of; None where they are in a folder of the user."""
    place = re.search(r"@([0-9a-f]{40})(?:/|$)|/snapshots/([0-9a-f]{40})(?:/|$)", builder.base_path)
    return place and (place[1] or place[2])


def _kind(builder: Any) -> str:
    """Format of the files, named as the library's module for it."""
    return type(builder).__module__.rpartition(".")[2]


def _delimiter(config: Any, at: str) -> str:
    """Delimiter between the cells of a CSV file.

    Raises:
        DataError: the dataset's card asks to read its files in a way that is not known here.
    """
    usual = type(config)()
    for field in fields(config):
        value = getattr(config, field.name)
        known = field.name in _IDENTITY or field.name in ("sep", "delimiter")
        if not known and value != getattr(usual, field.name):
            raise DataError(
                f"{at} asks to be read with {field.name}={value!r}, which is not known here; fetch "
                "its files and write them as .jsonl, one row a line"
            )
    return str(getattr(config, "sep", ","))


def _splits(split: str, known: Iterable[str], at: str) -> set[str]:
    """The names in an expression over splits.

    Raises:
        DataError: the dataset has no such split.
    """
    names = {part.partition("[")[0].strip() for part in split.split("+")}
    for name in sorted(names - set(known)):
        guess = nearest(name, list(known))
        meant = f"did you mean '{guess}'?" if guess else f"it has {', '.join(known)}"
        raise DataError(f"{at} has no split '{name}'; {meant}")
    return names


def _fetched(stated: str) -> list[Path]:
    """The files on this machine that one of a dataset is: itself, or those in an archive."""
    from datasets import DownloadManager

    manager = DownloadManager()
    path = Path(manager.download(stated))
    if is_compressed(path):  # which is opened as it is
        return [path]
    return [Path(each) for each in manager.iter_files(str(manager.extract(str(path))))]
