"""The benchmarks that the runs of a comparison were evaluated on, question by question."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from rvpo.compare.neglect import Counts
from rvpo.errors import ConfigError
from rvpo.evaluate.results import RUN, ResultFolder
from rvpo.report.run_folder import RunFolder

BySeed = Sequence[Mapping[int, Mapping[str, Counts]]]
"""By seed and step, `NAME/SCORE` of each benchmark's quoted score."""


def benchmark_counts(arms: Mapping[str, Sequence[RunFolder]]) -> dict[str, BySeed]:
    """Of every arm; without benchmarks nothing at any step.

    Raises:
        ConfigError: runs were evaluated on other questions, or by other graders: their scores
            cannot be compared.
    """
    found: dict[str, list[dict[int, dict[str, Counts]]]] = {
        arm: [{} for _ in runs] for arm, runs in arms.items()
    }
    folders = [folder for runs in arms.values() for folder in runs]
    for name in sorted({path.name for folder in folders for path in folder.benchmarks.glob("*")}):
        _check_identities(name, folders)
        results = {
            (arm, seed, step): summary
            for arm, runs in arms.items()
            for seed, folder in enumerate(runs)
            for step in folder.benchmarked(name)
            if (summary := ResultFolder(folder.benchmark(name, step)).concluded()) is not None
        }
        questions = sorted({q for summary in results.values() for q in summary.by_question})
        for (arm, seed, step), summary in results.items():
            metric = f"{name}/{next(iter(summary.scores))}"
            known = np.array([[q in summary.by_question] for q in questions], dtype=np.float64)
            values = np.array([[summary.by_question.get(q, 0.0)] for q in questions])
            found[arm][seed].setdefault(step, {})[metric] = Counts(values, known)
    return {arm: list(runs) for arm, runs in found.items()}


def uncovered(arms: Mapping[str, Sequence[RunFolder]]) -> list[str]:
    """Scores of which verdicts are unknown, a sentence each."""
    return [
        f"{folder.path}, step {step}: {1 - score.coverage:.1%} of the verdicts below {benchmark}/"
        f"{name} are unknown"
        for runs in arms.values()
        for folder in runs
        for benchmark in sorted(path.name for path in folder.benchmarks.glob("*"))
        for step in folder.benchmarked(benchmark)
        if (summary := ResultFolder(folder.benchmark(benchmark, step)).concluded()) is not None
        for name, score in list(summary.scores.items())[:1]
        if score.coverage is not None and score.coverage < 1
    ]


def _check_identities(name: str, folders: Sequence[RunFolder]) -> None:
    first = None
    for folder in folders:
        for step in folder.benchmarked(name):
            path = folder.benchmark(name, step)
            identity = {k: v for k, v in ResultFolder(path).claimed().items() if k != RUN}
            first = (path, identity) if first is None else first
            changed = [key for key in identity if identity[key] != first[1].get(key)]
            if changed:
                raise ConfigError(
                    f"{path} and {first[0]} differ in {', '.join(changed)}, so that scores on "
                    f"{name} cannot be compared; remove the one that is not meant"
                )
