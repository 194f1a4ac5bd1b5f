"""A run whose scores are read again, step by step."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path
from typing import Self

from rvpo.config.run import RunConfig, load_config
from rvpo.errors import ConfigError
from rvpo.replay.from_samples import from_samples
from rvpo.report.run_folder import RunFolder
from rvpo.report.sample_files import sample_files
from rvpo.report.score_files import StepScores, read_scores, scored_steps


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredRun:
    """A run's settings, and the steps whose scores are there."""

    folder: RunFolder
    config: RunConfig
    done: int
    """Steps that the run has done."""
    by_matrix: frozenset[int]
    """Steps with a file of scores."""
    by_samples: frozenset[int]
    """Steps that have samples alone, as those of older runs: their reliability is not known, and
    criteria of the data count as one aspect of their reward."""

    @classmethod
    def open(cls, path: Path) -> Self:
        """The run of a folder.

        Raises:
            ConfigError: there is no run, none that has done a step, or its settings cannot be read.
            CheckpointError: its metrics cannot be read.
        """
        folder = RunFolder(path)
        if not folder.config.is_file():
            below = sorted(file.parent for file in path.glob("**/config.yaml"))
            raise ConfigError(
                f"{path} holds no run; give the folder of one, "
                + (f"such as {below[0]}" if below else "which has a config.yaml")
            )
        by_matrix = frozenset(scored_steps(folder))
        by_samples = frozenset(sample_files(folder).values()) - by_matrix
        # A rank writes its samples before the main rank has told of the step.
        done = max([folder.count_metrics(), *by_matrix]) or max(by_samples, default=0)
        by_samples = frozenset(step for step in by_samples if step <= done)
        if not done:
            raise ConfigError(f"{path} has done no step; give a run that has done some")
        return cls(
            folder=folder,
            config=load_config(folder.config),
            done=done,
            by_matrix=by_matrix,
            by_samples=by_samples,
        )

    @property
    def steps(self) -> list[int]:
        """Steps whose scores are there, in order."""
        return sorted(self.by_matrix | self.by_samples)

    def chosen(self, steps: str | None) -> list[int]:
        """Steps to read: all of the run, or those that are asked for, such as "1,20-40".

        Raises:
            ConfigError: the scores of one of them are not there, or the text names no steps.
        """
        wanted = list(range(1, self.done + 1)) if steps is None else _steps_of(steps)
        there = set(self.steps)
        lacking = [step for step in wanted if step not in there]
        if not lacking:
            return wanted
        if wanted[-1] > self.done:
            raise ConfigError(
                f"--steps {steps}: {self.folder.path} has done {self.done} steps; give steps from "
                f"1 to {self.done}"
            )
        known = spans(self.steps)
        rest = f"there are {known}: give --steps {known}" if known else "there are none"
        raise ConfigError(
            f"{self.folder.path}: {len(lacking)} of {len(wanted)} steps have neither scores nor "
            f"samples, which report.samples.keep may have removed; {rest}"
        )

    def read(self, step: int) -> StepScores:
        """The scores of a step.

        Raises:
            CheckpointError: a file is damaged.
        """
        if step in self.by_matrix:
            return read_scores(self.folder, step)
        return from_samples(self.folder, self.config, step)

    def each(self, steps: Sequence[int]) -> Iterator[StepScores]:
        """The scores of some steps, read one after the other."""
        return (self.read(step) for step in steps)


def spans(steps: Sequence[int]) -> str:
    """Steps in order as a text, such as "1,20-40"."""
    runs = [
        [step for _, step in run]
        for _, run in groupby(enumerate(steps), key=lambda pair: pair[1] - pair[0])
    ]
    return ",".join(f"{run[0]}-{run[-1]}" if len(run) > 1 else f"{run[0]}" for run in runs)


def _steps_of(text: str) -> list[int]:
    found: set[int] = set()
    for part in text.split(","):
        first, dash, last = part.partition("-")
        ends = (first.strip(), (last if dash else first).strip())
        if not all(end.isdecimal() and len(end) < 10 for end in ends):
            raise ConfigError(f"--steps {text}: give steps as in 1,20-40")
        start, stop = int(ends[0]), int(ends[1])
        if not 1 <= start <= stop or stop - start > 1_000_000:
            raise ConfigError(f"--steps {text}: give steps from 1 on, the smaller one first")
        found.update(range(start, stop + 1))
    return sorted(found)
