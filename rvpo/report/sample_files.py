"""The files of every sample: written, kept or forgotten, and found again."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rvpo.files.gzipped import zipped
from rvpo.report.record import StepRecord, sample_rows
from rvpo.report.run_folder import RunFolder, as_bytes, steps_in, write_bytes, writing
from rvpo.report.stored import read_samples

_PLAIN, _ZIPPED = ".jsonl", ".jsonl.gz"


@dataclass(frozen=True, slots=True)
class Keeping:
    """Choice of what stays of the samples, and in which form."""

    zip_from: float = float("inf")
    """Bytes of a file from which it is compressed."""
    newest: int | None = None
    """Newest steps that stay; all if None."""
    every: int = 0
    """Distance of steps that stay although they are older, 0 for none; the first always stays."""

    def stays(self, step: int, done: int) -> bool:
        """True for a step whose samples stay when `done` steps are done."""
        if self.newest is None or step == 1 or step > done - self.newest:
            return True
        return self.every > 0 and step % self.every == 0


class SampleFiles:
    """A report that writes each step's samples of one rank to a file of their own.

    The main rank's also removes the files of all ranks that are not to stay.
    """

    def __init__(self, folder: RunFolder, rank: int, keeping: Keeping = Keeping()) -> None:
        self._folder = folder
        self._rank = rank
        self._keeping = keeping

    def __call__(self, record: StepRecord) -> None:
        """Write the step's samples, one JSON line each (`record.sample_rows`).

        Raises:
            CheckpointError: the disk is full, or the file may not be written.
        """
        lines = (
            json.dumps(row, ensure_ascii=False, allow_nan=False) for row in sample_rows(record)
        )
        raw = as_bytes("".join(line + "\n" for line in lines))
        is_long = len(raw) >= self._keeping.zip_from
        name = f"step-{record.step:06d}.rank-{self._rank}{_ZIPPED if is_long else _PLAIN}"
        write_bytes(self._folder.samples / name, zipped(raw) if is_long else raw)
        if self._rank == 0 and self._keeping.newest is not None:
            self._forget(record.step)

    def _forget(self, done: int) -> None:
        with writing(self._folder.samples):
            for path, step in steps_in(self._folder.samples).items():
                if not self._keeping.stays(step, done):
                    path.unlink(missing_ok=True)

    def close(self) -> None:
        """Nothing is left open between steps."""


def sample_files(folder: RunFolder) -> dict[Path, int]:
    """The files of samples, each with its step, in order."""
    found = steps_in(folder.samples)
    return {path: step for path, step in found.items() if path.name.endswith((_PLAIN, _ZIPPED))}


def samples_of(folder: RunFolder, step: int) -> list[dict[str, Any]]:
    """The samples of a step, in the order of ranks; none where they did not stay.

    Raises:
        CheckpointError: a file is damaged.
    """
    of_step = [path for path, found in sample_files(folder).items() if found == step]
    return [row for path in of_step for row in read_samples(path)]
