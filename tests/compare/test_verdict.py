"""Differences, intervals and tests, against what is known beforehand."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from rvpo.compare.neglect import Counts
from rvpo.compare.verdict import MetricRow, verdict
from rvpo.report.held_out import HeldOutScores
from tests.compare.test_neglect import evaluation


def noisy(mean: float, seed: int, prompts: int = 30) -> HeldOutScores:
    chance = np.random.default_rng(seed)
    values = (chance.random((prompts, 4, 2)) < mean).astype(float)
    values[0, 0], values[0, 1] = 0.0, 1.0  # both scores occur, whatever the draw
    return evaluation(values.tolist())


def rows(evaluations: dict[str, list[dict[int, HeldOutScores]]], **where: str) -> list[MetricRow]:
    found, _ = verdict(evaluations)
    return [row for row in found if all(getattr(row, k) == v for k, v in where.items())]


def runs(*means: float, seed: int = 0) -> list[dict[int, HeldOutScores]]:
    return [{0: noisy(0.1, 99), 10: noisy(mean, seed + n)} for n, mean in enumerate(means)]


def test_the_numbers_are_those_of_scipy() -> None:
    first, second = runs(0.2, 0.3, 0.25), runs(0.7, 0.6, 0.8, seed=50)
    (row,) = rows({"x": first, "y": second}, stage="final", metric="a")
    means = [[float(run[10].values[..., 0].mean()) for run in arm] for arm in (first, second)]
    expected = stats.ttest_rel(means[1], means[0])
    assert row.first_mean == pytest.approx(np.mean(means[0]))
    assert row.difference == pytest.approx(np.mean(means[1]) - np.mean(means[0]))
    assert row.p_value == pytest.approx(expected.pvalue)
    assert row.interval is not None
    assert row.interval[0] < row.difference < row.interval[1]
    assert row.effect_size == pytest.approx(expected.statistic / np.sqrt(3))


def test_the_interval_covers_the_true_difference_as_often_as_it_says() -> None:
    covered = 0
    for trial in range(40):
        chance = np.random.default_rng(trial)
        seeds = chance.normal(0, 0.05, size=(2, 4))
        arms = {
            name: runs(*(0.4 + seeds[n]), seed=1000 * trial + 100 * n)
            for n, name in enumerate(("x", "y"))
        }
        (row,) = rows(arms, stage="final", metric="a")
        assert row.interval is not None
        covered += row.interval[0] <= 0 <= row.interval[1]
    assert covered >= 35  # of 40; as percentiles stand it would be about 31 with four seeds


def test_seeds_that_all_differ_by_the_same_have_no_test() -> None:
    same = [{10: noisy(0.3, 5)}, {10: noisy(0.3, 5)}]
    (row,) = rows({"x": same, "y": [{10: noisy(0.8, 6)}] * 2}, stage="final", metric="a")
    assert row.p_value is row.effect_size is None
    assert row.difference is not None
    assert row.difference > 0.3


def test_the_peak_is_the_best_step_of_each_run_and_metric() -> None:
    good, bad = noisy(0.9, 1), noisy(0.1, 2)
    falls = [{10: good, 20: bad}]
    rises = [{10: bad, 20: good}]
    (final,) = rows({"falls": falls, "rises": rises}, stage="final", metric="a")
    (peak,) = rows({"falls": falls, "rises": rises}, stage="peak", metric="a")
    assert final.difference is not None
    assert final.difference > 0.5
    assert peak.difference == 0
    (gap,) = rows({"falls": falls, "rises": rises}, stage="peak", metric="best − worst")
    assert gap.difference == 0  # less is better


def test_the_step_before_training_is_no_peak() -> None:
    early = [{0: noisy(0.9, 1), 10: noisy(0.1, 2)}]
    (row,) = rows({"x": early, "y": early}, stage="peak", metric="a")
    assert row.first_mean is not None
    assert row.first_mean < 0.3


def test_p_values_are_corrected_over_the_whole_table() -> None:
    found = rows({"x": runs(0.2, 0.3, 0.25), "y": runs(0.7, 0.6, 0.8, seed=50)})
    tested = sorted((row.p_value, row.p_holm) for row in found if row.p_value is not None)
    smallest, corrected = tested[0]
    assert corrected == pytest.approx(min(1, smallest * len(tested)))
    assert all(holm >= p for p, holm in tested)
    assert [holm for _, holm in tested] == sorted(holm for _, holm in tested)


def test_a_primary_metric_is_corrected_for_itself_alone() -> None:
    evaluations = {"x": runs(0.2, 0.3, 0.25), "y": runs(0.7, 0.6, 0.8, seed=50)}
    found, _ = verdict(evaluations, primary=["a"])
    tested = [row for row in found if row.p_holm is not None]
    assert {(row.metric, row.stage) for row in tested} == {("a", "final"), ("a", "peak")}
    smallest = min(tested, key=lambda row: row.p_value or 0)
    assert smallest.p_value is not None
    assert smallest.p_holm == pytest.approx(2 * smallest.p_value)


def test_one_seed_has_no_test_but_an_interval() -> None:
    (row,) = rows({"x": runs(0.2), "y": runs(0.8, seed=7)}, stage="final", metric="a")
    assert row.p_value is row.p_holm is row.effect_size is None
    assert row.interval is not None
    assert row.interval[0] > 0


def test_arms_beyond_four_are_compared_with_the_first() -> None:
    found = rows({str(n): runs(0.5) for n in range(5)}, stage="final", metric="a")
    assert [(row.first, row.second) for row in found] == [("0", str(n)) for n in range(1, 5)]


def test_runs_on_other_prompts_are_refused() -> None:
    with pytest.raises(ValueError, match="different prompts"):
        verdict({"x": [{10: noisy(0.5, 1)}], "y": [{10: noisy(0.5, 1, prompts=29)}]})


def test_a_benchmark_is_compared_question_by_question() -> None:
    def scores(*values: float) -> dict[str, Counts]:
        return {"quiz/accuracy": Counts(np.array([values]).T, np.ones((len(values), 1)))}

    evaluations = {"x": runs(0.2, 0.3, 0.2), "y": runs(0.7, 0.6, 0.6, seed=50)}
    benchmarks = {
        "x": [{10: scores(0, 1, 0)}, {10: scores(0, 0, 0)}, {10: scores(0, 1, 0)}],
        "y": [{10: scores(1, 1, 0)}, {10: scores(1, 1, 1)}, {10: scores(1, 1, 1)}],
    }
    found, _ = verdict(evaluations, primary=["quiz/accuracy"], benchmarks=benchmarks)
    (row,) = [r for r in found if r.metric == "quiz/accuracy" and r.stage == "final"]
    assert row.difference == pytest.approx((1 / 3 + 3 / 3 + 2 / 3) / 3)
    assert row.interval is not None
    assert row.interval[0] < row.difference < row.interval[1]
    assert [r.metric for r in found if r.p_holm is not None] == ["quiz/accuracy"] * 2
