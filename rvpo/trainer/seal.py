"""The seal of a checkpoint: its files with their sums, so that damage is found before reading."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from pydantic import Field

from rvpo.report.run_folder import writing
from rvpo.report.stored import Stored, checked, damaged, read_json
from rvpo.runtime.ranks import Ranks

SEAL: Final = "checkpoint.json"
"""The file of a checkpoint that says what the others are."""


class FileSeal(Stored):
    """One file as it was written."""

    bytes: int = Field(ge=0)
    sha256: str

    @classmethod
    def of(cls, path: Path) -> FileSeal:
        """Read the file once."""
        with path.open("rb") as file:
            digest = hashlib.file_digest(file, "sha256")
            return cls(bytes=file.tell(), sha256=digest.hexdigest())


class Seal(Stored):
    """A whole checkpoint as it was written."""

    step: int = Field(ge=0)
    """Updates done."""
    ranks: int = Field(ge=1)
    files: dict[str, FileSeal]
    """Seals of files by their paths below the folder, with slashes."""

    @classmethod
    def of(cls, folder: Path, step: int, ranks: Ranks) -> Seal:
        """Seal a folder that all ranks have written; called on every rank, each reads its share."""
        mine = {name: FileSeal.of(folder / name) for name in _share(_names(folder), ranks)}
        files = {name: seal for part in ranks.gather_objects(mine) for name, seal in part.items()}
        return cls(step=step, ranks=ranks.size, files=dict(sorted(files.items())))

    @classmethod
    def read(cls, folder: Path) -> Seal:
        """The seal of a checkpoint.

        Raises:
            CheckpointError: it is not as it was written.
        """
        path = folder / SEAL
        found = read_json(path)
        digest = found.pop("sha256", None) if isinstance(found, dict) else None
        if digest != _digest(found):
            raise damaged(path, "it is not what was written")
        return checked(cls, found, path)

    def write(self, folder: Path) -> None:
        """Add the seal to its checkpoint.

        Raises:
            CheckpointError: it cannot be written.
        """
        facts = self.model_dump()
        with writing(folder / SEAL):
            text = json.dumps(facts | {"sha256": _digest(facts)}, indent=1)
            (folder / SEAL).write_text(text, encoding="utf-8")

    def broken(self, folder: Path, ranks: Ranks) -> str | None:
        """The first way in which the folder is not as it was written; None if it is.

        Called on every rank; each reads its share of the files and all get the same answer.
        """
        names = _names(folder)
        if more := sorted(set(names) - set(self.files)):
            return f"{more[0]} is no file of it"
        mine = {name: self._fault(folder / name, name) for name in _share(names, ranks)}
        faults = {name: said for part in ranks.gather_objects(mine) for name, said in part.items()}
        told = [said for name in self.files if (said := faults.get(name, f"{name} is missing"))]
        return told[0] if told else None

    def _fault(self, path: Path, name: str) -> str:
        """Fault of a file; empty if there is none."""
        known = self.files[name]
        try:
            size = path.stat().st_size
            if size != known.bytes:
                return f"{name} has {size:,} bytes instead of {known.bytes:,}"
            return "" if FileSeal.of(path) == known else f"{name} does not have what was written"
        except OSError as error:
            return f"{name} cannot be read: {error.strerror}"


def _names(folder: Path) -> list[str]:
    """Every file but the seal, sorted."""
    paths = (path for path in folder.rglob("*") if not path.is_dir())
    return sorted({path.relative_to(folder).as_posix() for path in paths} - {SEAL})


def _share(names: Sequence[str], ranks: Ranks) -> Sequence[str]:
    return names[ranks.rank :: ranks.size]


def _digest(facts: Mapping[str, Any] | Any) -> str:
    text = json.dumps(facts, sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()
