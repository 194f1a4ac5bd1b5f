"""The runs of a page, grouped by the arm that they belong to."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from rvpo.config.run import RunConfig, load_config
from rvpo.errors import ConfigError
from rvpo.evaluate.results import results_of
from rvpo.report.gold import GoldScores
from rvpo.report.held_out import HeldOutScores
from rvpo.report.lock import is_taken
from rvpo.report.run_folder import RunFolder
from rvpo.report.sample_files import sample_files, samples_of
from rvpo.report.stored import read_json

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True)
class RunHistory:
    """One run, as far as it has come."""

    folder: RunFolder

    @cached_property
    def config(self) -> RunConfig:
        return load_config(self.folder.config)

    @cached_property
    def provenance(self) -> Mapping[str, Any]:
        """Versions of packages and whatever else the run notes of its start; empty where its file
        is gone."""
        path = self.folder.provenance
        found = read_json(path) if path.exists() else {}
        return found if isinstance(found, dict) else {}

    @cached_property
    def metrics(self) -> list[dict[str, float]]:
        """Metrics, a mapping for each step."""
        return self.folder.read_metrics()

    @property
    def goes_on(self) -> bool:
        """True while a process trains it."""
        return is_taken(self.folder.path)

    @cached_property
    def held_out(self) -> dict[int, HeldOutScores]:
        """Held-out scores by step."""
        return {
            step: HeldOutScores.read(self.folder.evaluation(step))
            for step in self.folder.evaluated()
        }

    @cached_property
    def gold(self) -> dict[int, GoldScores]:
        """Both judges' scores of held-out answers, by step."""
        folder = self.folder
        return {step: GoldScores.read(folder.gold_scores(step)) for step in folder.watched()}

    @cached_property
    def benchmarks(self) -> dict[str, dict[int, dict[str, float]]]:
        """The scores to draw, by benchmark and step."""
        found: dict[str, dict[int, dict[str, float]]] = {}
        for each in results_of(self.folder):
            known = each.summary.metrics
            wanted = each.summary.curves or (each.summary.quoted,)
            drawn = {name: known[name] for name in wanted if name in known}
            found.setdefault(each.benchmark, {})[each.step] = drawn
        return found

    def samples(self, steps: int) -> Iterator[Mapping[str, Any]]:
        """The samples of the last steps, in order."""
        last = sorted(set(sample_files(self.folder).values()))[-steps:]
        for step in last:
            yield from samples_of(self.folder, step)


@dataclass(frozen=True)
class PageArm:
    """Runs that differ by seed alone."""

    name: str
    runs: tuple[RunHistory, ...]

    def curve(self, metric: str) -> tuple[Floats, Floats]:
        """Steps [T], and the metric of each run [runs, T] with NaN where it has none."""
        last = max((int(run.metrics[-1]["step"]) for run in self.runs if run.metrics), default=0)
        values = np.full((len(self.runs), last), np.nan)
        for place, run in enumerate(self.runs):
            for row in run.metrics:
                values[place, int(row["step"]) - 1] = row.get(metric, np.nan)
        return np.arange(1, last + 1, dtype=np.float64), values


def runs_in(path: Path) -> list[Path]:
    """Folders of the runs in a folder: a run's own, or those of the arms of a comparison.

    Raises:
        ConfigError: there is none.
    """
    found = sorted(file.parent for file in path.glob("**/config.yaml"))
    if not found:
        raise ConfigError(f"{path}: holds no run; give the folder of a run or of a comparison")
    return found


def read_arms(paths: Sequence[Path], *, begun: bool = True) -> tuple[PageArm, ...]:
    """The runs of folders: of runs, of arms with `seed-N` folders, or of whole comparisons.

    Args:
        begun: False for folders whose runs may have done no step, which are then left out.

    Raises:
        ConfigError: a folder holds no run, or none that has done a step.
    """
    arms: dict[str, list[RunHistory]] = {}
    for path in paths:
        runs = [RunHistory(RunFolder(folder)) for folder in runs_in(path)]
        runs = [run for run in runs if run.metrics]
        if begun and not runs:
            raise ConfigError(
                f"{path}: holds no run that has done a step; give the folder of a run or of a "
                "comparison"
            )
        for run in runs:
            arms.setdefault(_arm_name(run.folder.path), []).append(run)
    return tuple(PageArm(name, tuple(runs)) for name, runs in arms.items())


def progress(runs: Sequence[RunHistory]) -> str:
    """A sentence on how far runs have come, and on which of them go on."""
    if len(runs) == 1:
        (run,) = runs
        state = "goes on" if run.goes_on else "has ended"
        return f"The run {state}: {len(run.metrics)} of {run.config.steps} steps are done."
    going = sum(run.goes_on for run in runs)
    return f"{going} of {len(runs)} runs go on." if going else f"All {len(runs)} runs have ended."


def reward_names(arms: Sequence[PageArm]) -> list[str]:
    """Everything that has a curve `rewards/{name}/mean`, in the order of its first appearance."""
    names: dict[str, None] = {}
    for arm in arms:
        for run in arm.runs:
            newest = next((row for row in reversed(run.metrics) if len(row) > 1), {})
            for key in newest:
                if key.startswith("rewards/") and key.endswith("/mean"):
                    names[key.removeprefix("rewards/").removesuffix("/mean")] = None
    return list(names)


def _arm_name(folder: Path) -> str:
    name = folder.resolve().name
    return folder.resolve().parent.name if name.startswith("seed-") else name
