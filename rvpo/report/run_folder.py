"""The folder of one run, and the reports that write into it.

    config.yaml  provenance.json  metrics.jsonl  samples/step-000001.rank-0.jsonl[.gz]
    scores/step-000001.npz  held_out/step-000000.json  gold/step-000000.json
    benchmarks/NAME/step-000000/  checkpoints/  models/step-000010/  best/  best.json  model/
    held_out.json  curves.png

Files written in one go appear under their name only when complete. `metrics.jsonl` grows by one
flushed line a step, so a kill can tear its last line and nothing else.
"""

from __future__ import annotations

import errno
import json
import os
import re
import shutil
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from rvpo.errors import CheckpointError, ConfigError
from rvpo.report.lock import LOCK, FolderLock
from rvpo.report.record import StepRecord, finite
from rvpo.report.stored import read_metrics, surviving_metrics
from rvpo.runtime.environment import MEETING_MARK
from rvpo.runtime.ignore import ignore

_BEFORE_FIRST_STEP = {
    *("config.yaml", "provenance.json", "metrics.jsonl", "held_out", "gold", "benchmarks"),
    *("wandb", "trackio"),
}
"""Entries of a run that starts its first step. `metrics.jsonl` is empty until then."""

_STEP = re.compile(r"step-([0-9]{6,9})(?=\.(?!partial|tmp)|$)")


_OF_A_RUN = "a run with output=runs/NAME"


@contextmanager
def writing(path: Path, elsewhere: str = _OF_A_RUN) -> Iterator[None]:
    """Turn a failed write into its sentence.

    Args:
        path: file or folder that is named in it.
        elsewhere: words for how another place is given.

    Raises:
        CheckpointError: the disk is full, or `path` may not be written.
    """
    try:
        yield
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise CheckpointError(
                f"{path}: no space left on the disk; free some, then go on: training with "
                "--resume, anything else with the same command"
            ) from error
        raise CheckpointError(
            f"{path} cannot be written ({error.strerror}); "
            f"mend that, or write elsewhere, {elsewhere}"
        ) from error


def write_text(path: Path, text: str, elsewhere: str = _OF_A_RUN) -> None:
    """Write a whole file in UTF-8; see `as_bytes`, `write_bytes` and `writing`.

    Raises:
        CheckpointError: the disk is full, or the file may not be written.
    """
    write_bytes(path, as_bytes(text), elsewhere)


def as_bytes(text: str) -> bytes:
    """The text in UTF-8. A lone surrogate becomes its escape, as JSON would write it."""
    return text.encode(errors="backslashreplace")


def write_bytes(path: Path, content: bytes, elsewhere: str = _OF_A_RUN) -> None:
    """Write a whole file; until it is complete, `path` keeps what it had. See `writing`.

    Raises:
        CheckpointError: the disk is full, or the file may not be written.
    """
    draft = path.with_name(path.name + ".tmp")
    with writing(path, elsewhere):
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            with draft.open("wb") as file:
                file.write(content)
                file.flush()
                os.fsync(file.fileno())
            draft.replace(path)
        finally:
            draft.unlink(missing_ok=True)


def write_json(path: Path, value: Any, elsewhere: str = _OF_A_RUN) -> None:
    """Write a value as indented JSON, all or nothing. See `writing`.

    Raises:
        CheckpointError: the disk is full, or the file may not be written.
        ValueError: the value holds NaN or infinity, which JSON has no words for.
    """
    text = json.dumps(value, indent=2, ensure_ascii=False, allow_nan=False) + "\n"
    write_text(path, text, elsewhere)


def steps_in(folder: Path, pattern: str = "step-*") -> dict[Path, int]:
    """Entries of a folder that belong to steps, by their names, such as step-000010.json; nothing
    else that may lie there."""
    found = {path: _STEP.match(path.name) for path in sorted(folder.glob(pattern))}
    return {path: int(match[1]) for path, match in found.items() if match is not None}


def _holds(folder: Path) -> bool:
    return not folder.is_dir() or any(folder.iterdir())


def remove(path: Path) -> None:
    """Remove a file, a link or a folder."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


class RunFolder:
    """Folder of everything of a run.

    `RunFolder.create` starts one, `RunFolder.open` goes back to one; the bare constructor only
    names the paths, which is all that ranks beside the main one need.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.config = path / "config.yaml"
        self.provenance = path / "provenance.json"
        self.metrics = path / "metrics.jsonl"
        self.samples = path / "samples"
        self.scores = path / "scores"
        self.checkpoints = path / "checkpoints"
        self.model = path / "model"
        self.models = path / "models"
        self.best = path / "best"
        self.best_of = path / "best.json"
        self.benchmarks = path / "benchmarks"
        self.evaluations = path / "held_out"
        self.first_answers = self.evaluations / "first_answers.json"
        self.gold = path / "gold"
        self.held_out = path / "held_out.json"
        self.curves = path / "curves.png"

    def require_free(self) -> None:
        """Refuse a folder that a new run must not use.

        A run that ended before its first step holds nothing to lose and may be replaced.

        Raises:
            ConfigError: the folder holds a run or other files, is a file, or cannot be made.
        """
        if self.path.exists() and not self.path.is_dir():
            raise ConfigError(f"{self.path} is a file; write elsewhere: output=runs/NAME")
        if not self.path.exists():
            self._require_place()
        held = (path for path in self.path.glob("*") if path != self.checkpoints or _holds(path))
        names = {path.name for path in held if not path.name.startswith(MEETING_MARK)} - {LOCK}
        if not names or (self.provenance.name in names and names <= _BEFORE_FIRST_STEP):
            return
        if self.config.name in names:
            raise ConfigError(
                f"{self.path} already holds a run; continue it with --resume, "
                "or write elsewhere: output=runs/NAME"
            )
        raise ConfigError(
            f"{self.path} holds files that are not a run's; write elsewhere: output=runs/NAME"
        )

    def _require_place(self) -> None:
        above = next(folder for folder in self.path.absolute().parents if folder.exists())
        if not above.is_dir():
            raise ConfigError(
                f"{above}, in which {self.path} would be, is a file; write elsewhere: "
                "output=runs/NAME"
            )
        if not os.access(above, os.W_OK):
            raise ConfigError(f"{above} may not be written; write elsewhere: output=runs/NAME")

    @classmethod
    def create(cls, path: Path, config: str, provenance: Mapping[str, Any]) -> RunFolder:
        """Start a run in a new or empty folder.

        Args:
            path: the folder; missing parents are made.
            config: the resolved settings, as YAML.
            provenance: all else that the run depends on, such as versions and the git revision.

        Raises:
            ConfigError: see `require_free`.
            CheckpointError: the disk is full, or the folder may not be written.
        """
        folder = cls(path)
        folder.require_free()
        with writing(path):
            for leftover in path.glob("*"):  # at most of a run without a step
                if leftover.name != LOCK:  # which a process holds, and none may hold another
                    remove(leftover)
        write_text(folder.config, config)
        write_json(folder.provenance, dict(provenance))
        return folder

    @classmethod
    def open(cls, path: Path) -> RunFolder:
        """Go back to an existing run.

        Raises:
            ConfigError: the folder holds no run.
        """
        folder = cls(path)
        if not folder.config.is_file():
            raise ConfigError(
                f"{path} holds no run to continue; start one without --resume, or if its folder "
                "was moved, give the settings in it: --config FOLDER/config.yaml --resume"
            )
        return folder

    @contextmanager
    def locked(self, say: Callable[[str], None] = ignore) -> Iterator[None]:
        """Keep every other process from training in this folder, which is made if it is not there;
        the kernel lets go at exit.

        Args:
            say: told where a process on another machine may still have it.

        Raises:
            ConfigError: another process is training here.
            CheckpointError: the folder may not be written.
        """
        with writing(self.path / LOCK):
            lock = FolderLock.take(self.path)
        if lock.left_by is not None:
            say(
                f"{self.path} was not let go of in order by process {lock.left_by}; if that still "
                "trains, stop it, for some network disks do not keep two machines apart"
            )
        try:
            yield
        finally:
            lock.release()

    def model_after(self, step: int) -> Path:
        """Folder of the model after `step` updates, if one was saved."""
        return self.models / f"step-{step:06d}"

    def benchmark(self, name: str, step: int) -> Path:
        """Folder of the results of a benchmark after `step` updates."""
        return self.benchmarks / name / f"step-{step:06d}"

    def benchmarked(self, name: str) -> list[int]:
        """The steps that have results of a benchmark, in order."""
        steps = steps_in(self.benchmarks / name)
        return sorted(step for path, step in steps.items() if (path / "summary.json").exists())

    def evaluation(self, step: int) -> Path:
        """File of the held-out scores after `step` updates."""
        return self.evaluations / f"step-{step:06d}.json"

    def evaluated(self) -> list[int]:
        """The steps that have held-out scores, in order."""
        return sorted(steps_in(self.evaluations, "step-*.json").values())

    def gold_scores(self, step: int) -> Path:
        """File of both judges' scores of held-out answers after `step` updates."""
        return self.gold / f"step-{step:06d}.json"

    def watched(self) -> list[int]:
        """The steps that have both judges' scores, in order."""
        return sorted(steps_in(self.gold, "step-*.json").values())

    def damaged_metrics(self, step: int) -> Path:
        """File for a `metrics.jsonl` that did not hold every step up to `step`."""
        return self.metrics.with_name(f"metrics.damaged-{step:06d}.jsonl")

    def steps_told(self) -> int:
        """The last step that anything here but a checkpoint tells of.

        Raises:
            CheckpointError: `metrics.jsonl` cannot be read.
        """
        told = [step for folder in self._dated() for step in steps_in(folder).values()]
        return max([0, len(surviving_metrics(self.metrics)), *told])

    def count_metrics(self) -> int:
        """Whole lines of `metrics.jsonl`, which are as many as steps; their content is not read."""
        return self.metrics.read_bytes().count(b"\n") if self.metrics.exists() else 0

    def read_metrics(self) -> list[dict[str, float]]:
        """The lines of `metrics.jsonl`, without a last one that a kill tore; empty if no file.

        Raises:
            CheckpointError: another line is damaged.
        """
        return read_metrics(self.metrics)

    def _dated(self) -> tuple[Path, ...]:
        """The folders whose entries belong to steps."""
        every = (self.samples, self.scores, self.evaluations, self.gold, self.models)
        return (*every, *self.benchmarks.glob("*/"))

    def rewind(self, step: int) -> list[int]:
        """Forget every step after `step`, so that a resumed run can do them again.

        Returns:
            The steps up to `step` whose line in `metrics.jsonl` is lost. Their line has nothing but
            the step, and the file as it was stays beside it (`damaged_metrics`).

        Raises:
            CheckpointError: `metrics.jsonl` cannot be read, or the disk is full.
        """
        known = surviving_metrics(self.metrics)
        steps = range(1, step + 1)
        lost = [number for number in steps if number not in known]
        if lost and self.metrics.exists():
            with writing(self.path):
                self.metrics.replace(self.damaged_metrics(step))
        lines = (known.get(number, {"step": number}) for number in steps)
        write_text(self.metrics, "".join(json.dumps(line) + "\n" for line in lines))
        with writing(self.path):
            for folder in self._dated():
                torn = (*folder.glob("step-*.tmp"), *folder.glob("step-*.partial"))
                later = (path for path, done in steps_in(folder).items() if done > step)
                for path in (*torn, *later):
                    remove(path)
        return lost


class MetricsFile:
    """A report that appends one line a step to `metrics.jsonl`: `{"step": 1, ...}`.

    A metric that is NaN or infinite has no value to write and is left out of the line.
    """

    def __init__(self, folder: RunFolder) -> None:
        self._path = folder.metrics

    def __call__(self, record: StepRecord) -> None:
        """Append the step.

        Raises:
            CheckpointError: the disk is full, or the file may not be written.
        """
        line = json.dumps({"step": record.step, **finite(record.metrics)}, allow_nan=False)
        with writing(self._path), self._path.open("a", encoding="utf-8") as file:
            file.write(line + "\n")

    def close(self) -> None:
        """Nothing is left open between steps."""
