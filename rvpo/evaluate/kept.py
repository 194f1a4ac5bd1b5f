"""The metrics of evaluation that a run's folder holds."""

from __future__ import annotations

from rvpo.evaluate.results import ResultFolder
from rvpo.report.gold import GoldScores
from rvpo.report.held_out import HeldOutScores
from rvpo.report.run_folder import RunFolder


def kept_metrics(run: RunFolder, last: int) -> dict[int, dict[str, float]]:
    """Metrics of held-out prompts, of the gold watch and of benchmarks, by the step after which
    they were taken, up to one; nothing where nothing was taken after that.

    Raises:
        CheckpointError: a file is damaged.
    """
    names = sorted(path.name for path in run.benchmarks.glob("*"))
    steps = {*run.evaluated(), *run.watched()}
    steps = steps.union(*(run.benchmarked(name) for name in names))
    if last not in steps:
        return {}
    return {step: _at(run, step, names) for step in sorted(steps) if step <= last}


def _at(run: RunFolder, step: int, benchmarks: list[str]) -> dict[str, float]:
    found: dict[str, float] = {}
    if run.evaluation(step).exists():
        found |= HeldOutScores.read(run.evaluation(step)).metrics()
    if run.gold_scores(step).exists():
        found |= GoldScores.read(run.gold_scores(step)).metrics()
    for name in benchmarks:
        summary = ResultFolder(run.benchmark(name, step)).concluded()
        if summary is not None:
            found |= {f"eval/{name}/{score}": value for score, value in summary.metrics.items()}
    return found
