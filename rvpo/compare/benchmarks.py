"""The benchmarks that the runs of a comparison were evaluated on, question by question."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from rvpo.compare.neglect import Counts
from rvpo.errors import ConfigError
from rvpo.evaluate.results import RUN, ResultFolder, results_of
from rvpo.report.run_folder import RunFolder

BySeed = Sequence[Mapping[int, Mapping[str, Counts]]]
"""Counts of each benchmark's quoted score, by seed, step and `NAME/SCORE`."""


def benchmark_counts(arms: Mapping[str, Sequence[RunFolder]]) -> dict[str, BySeed]:
    """Counts of every arm; without benchmarks nothing at any step.

    Raises:
        ConfigError: runs were evaluated on other questions, or by other graders: their scores
            cannot be compared.
    """
    found: dict[str, list[dict[int, dict[str, Counts]]]] = {
        arm: [{} for _ in runs] for arm, runs in arms.items()
    }
    results = [
        (found[arm][seed], each)
        for arm, runs in arms.items()
        for seed, run in enumerate(runs)
        for each in results_of(run)
    ]
    for name in {each.benchmark for _, each in results}:
        own = [(steps, each) for steps, each in results if each.benchmark == name]
        _check_identities(name, [each.folder for _, each in own])
        questions = sorted({q for _, each in own for q in each.summary.by_question})
        for steps, each in own:
            values = each.summary.by_question
            known = np.array([[q in values] for q in questions], dtype=np.float64)
            metric = f"{name}/{each.summary.quoted}"
            counts = Counts(np.array([[values.get(q, 0.0)] for q in questions]), known)
            steps.setdefault(each.step, {})[metric] = counts
    return {arm: list(runs) for arm, runs in found.items()}


def uncovered(arms: Mapping[str, Sequence[RunFolder]]) -> list[str]:
    """Quoted scores of which verdicts are unknown, a sentence each."""
    said = []
    for each in (each for runs in arms.values() for run in runs for each in results_of(run)):
        quoted = each.summary.quoted
        coverage = each.summary.scores[quoted].coverage
        if coverage is not None and coverage < 1:
            said.append(
                f"{each.folder.path}: {1 - coverage:.1%} of the verdicts below "
                f"{each.benchmark}/{quoted} are unknown"
            )
    return said


def _check_identities(name: str, results: Sequence[ResultFolder]) -> None:
    first, *others = ((each.path, _compared(each)) for each in results)
    for path, identity in others:
        changed = [key for key in identity if identity[key] != first[1].get(key)]
        if changed:
            raise ConfigError(
                f"{path} and {first[0]} differ in {', '.join(changed)}, so that scores on "
                f"{name} cannot be compared; move the one that is not meant elsewhere"
            )


def _compared(results: ResultFolder) -> dict[str, Any]:
    return {key: value for key, value in results.claimed().items() if key != RUN}
