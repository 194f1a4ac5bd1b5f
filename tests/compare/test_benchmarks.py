"""Benchmarks of the runs of a comparison."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from rvpo.benchmarks.benchmark import BenchmarkSummary, Score
from rvpo.compare.benchmarks import benchmark_counts, uncovered
from rvpo.errors import ConfigError
from rvpo.evaluate.results import RUN, ResultFolder
from rvpo.report.run_folder import RunFolder


def write(run: Path, step: int, grader: str = "g", **values: float) -> RunFolder:
    folder = RunFolder(run)
    results = ResultFolder(folder.benchmark("quiz", step))
    results.claim({"grader": grader, RUN: {"step": step, "seed": run.name}})
    mean = Score(value=sum(values.values()) / len(values), count=len(values))
    results.conclude(BenchmarkSummary(scores={"accuracy": mean}, by_question=values))
    return folder


def test_every_question_has_its_place_also_where_it_was_not_graded(tmp_path: Path) -> None:
    first = write(tmp_path / "x", 10, a=1.0, b=0.0)
    second = write(tmp_path / "y", 10, b=1.0)
    found = benchmark_counts({"x": [first], "y": [second]})
    x, y = (found[arm][0][10]["quiz/accuracy"] for arm in "xy")
    assert x.numerator.tolist() == [[1.0], [0.0]]
    assert y.denominator.tolist() == [[0.0], [1.0]]
    assert [x.whole, y.whole] == [0.5, 1.0]
    assert np.isnan(y.value(np.array([[1.0, 0.0]]))).all()  # nothing of it was drawn


def test_scores_by_different_graders_are_not_compared(tmp_path: Path) -> None:
    runs = {"x": [write(tmp_path / "x", 10, a=1.0)], "y": [write(tmp_path / "y", 10, "h", a=1.0)]}
    with pytest.raises(ConfigError, match="differ in grader,"):
        benchmark_counts(runs)


def test_unknown_verdicts_are_told_beside_the_comparison(tmp_path: Path) -> None:
    folder = RunFolder(tmp_path / "x")
    results = ResultFolder(folder.benchmark("quiz", 10))
    results.claim({RUN: {}})
    scores = {
        "overall": Score(value=0.5, count=4, coverage=0.75),
        "axis/a": Score(value=0.5, count=4, coverage=0.5),
    }
    results.conclude(BenchmarkSummary(scores=scores))
    (said,) = uncovered({"x": [folder]})
    assert "step-000010: 25.0% of the verdicts below quiz/overall are unknown" in said
    assert uncovered({"x": [write(tmp_path / "y", 10, a=1.0)]}) == []


def test_runs_without_benchmarks_have_none(tmp_path: Path) -> None:
    assert benchmark_counts({"x": [RunFolder(tmp_path)]}) == {"x": [{}]}
