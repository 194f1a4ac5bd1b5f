"""A run ends where a metric of its evaluations gets no better, or is good enough."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from rvpo.benchmarks.benchmark import BenchmarkSummary, Score
from rvpo.config.early_stop import EarlyStopConfig
from rvpo.errors import ConfigError, RewardError
from rvpo.evaluate.kept import kept_metrics
from rvpo.evaluate.results import ResultFolder
from rvpo.report.held_out import HeldOutScores
from rvpo.report.run_folder import RunFolder, write_json
from rvpo.runtime.ranks import Ranks
from rvpo.trainer.early_stop import EarlyStop
from tests.fakes import make_scores, on_each_rank

METRIC = "eval/pass@2/correct"


def stop_of(
    values: Mapping[int, float | None], said: list[str], ranks: Ranks | None = None, **rule: Any
) -> EarlyStop:
    """The rule of a run that has these values, None where a judge lost one."""

    def kept(step: int) -> dict[int, dict[str, float]]:
        if step not in values:
            return {}
        return {
            at: {} if value is None else {METRIC: value, "eval/other": 0.0}
            for at, value in values.items()
            if at <= step
        }

    config = EarlyStopConfig(metric=METRIC, **rule)
    return EarlyStop(config, kept, ranks or Ranks.alone(), said.append)


@pytest.mark.parametrize(
    ("values", "rule", "expected"),
    [
        ([0.1, 0.2, 0.2, 0.2, 0.2], {"patience": 2}, [6, 8]),
        ([0.1, 0.2, 0.1, 0.3, 0.1], {"patience": 2}, []),
        ([0.5, 0.2, 0.3, 0.6], {"patience": 2}, [4]),  # the value before training counts
        ([0.5, 0.2, 0.3, 0.6], {"patience": 3}, []),
        ([0.1, 0.2, 0.3, 0.4], {"patience": 2, "min_delta": 0.15}, []),  # better than step 0 by .2
        ([0.1, 0.2, 0.3, 0.4], {"patience": 2, "min_delta": 0.25}, [4]),
        ([0.9, 0.7, 0.5], {"patience": 1, "mode": "min"}, []),
        ([0.5, 0.7, 0.9], {"patience": 1, "mode": "min"}, [2, 4]),
        ([0.7, 0.9, 0.9], {"patience": 1, "min_delta": 0.2}, [2, 4]),  # .2 is not more than .2
        ([0.1, None, 0.1, None, 0.1], {"patience": 2}, [8]),  # who has no value has no say
        ([None, 0.5, 0.4], {"patience": 1}, [4]),
        ([0.1, 0.5, 0.9], {"goal": 0.5}, [2, 4]),
        ([0.9, 0.5, 0.1], {"goal": 0.2, "mode": "min"}, [4]),
        ([0.1, 0.2, 0.2, 0.9], {"goal": 0.9, "patience": 1}, [4, 6]),
        ([0.1, 0.2], {"goal": 0.9, "patience": 5}, []),
    ],
)
def test_a_run_ends_where_it_gets_no_better_or_is_good_enough(
    values: list[float | None], rule: dict[str, Any], expected: list[int]
) -> None:
    stop = stop_of({2 * n: value for n, value in enumerate(values)}, [], **rule)
    assert [step for step in range(2 * len(values)) if stop(step)] == expected


def test_the_sentence_says_what_was_seen_and_how_to_go_on() -> None:
    said: list[str] = []
    stop = stop_of({0: 0.1, 2: 0.5, 4: 0.5, 6: 0.25}, said, patience=2, goal=0.9)
    assert stop(6)
    (sentence,) = said
    for part in (
        "evaluate.early_stop: the run ends here",
        f"'{METRIC}' was 0.500 after step 2",
        "0.500 after step 4, 0.250 after step 6",
        "--resume evaluate.early_stop=null",
    ):
        assert part in sentence
    assert stop_of({0: 0.1, 2: 0.95}, said, goal=0.9)(2)
    assert "is 0.950 after step 2, and goal=0.9" in said[-1]


def test_every_rank_ends_by_what_the_first_one_reads() -> None:
    def end(ranks: Ranks) -> bool:
        return stop_of({0: 0.5, 2: 0.5 if ranks.is_main else 0.9}, [], ranks, patience=1)(2)

    assert on_each_rank(end) == [True, True]


def test_a_run_without_a_rule_reads_nothing() -> None:
    def kept(step: int) -> dict[int, dict[str, float]]:
        raise AssertionError

    assert not EarlyStop(None, kept, Ranks.alone(), print)(2)


def test_a_metric_that_cannot_end_the_run_is_refused_once_it_is_known() -> None:
    stop = stop_of({}, [], goal=0.5)
    stop.check({METRIC: 0.4}, {})
    stop.check({}, {})
    with pytest.raises(ConfigError, match=r"no evaluation gives .*there are eval/other"):
        stop.check({"eval/other": 0.1}, {})
    with pytest.raises(ConfigError, match=r"0.5 is reached before training.* is 0.600"):
        stop.check({METRIC: 0.6}, {})
    with pytest.raises(RewardError, match="not known before training, because all verdicts failed"):
        stop.check({"eval/other": 0.1}, {METRIC: "all verdicts failed"})
    with pytest.raises(RewardError, match=r"because all episodes failed; mend .* the environ"):
        stop.check({}, {METRIC: "all episodes failed"})


def test_the_metrics_are_those_that_the_folder_holds(tmp_path: Path) -> None:
    run = RunFolder(tmp_path)
    run.evaluations.mkdir()
    for step in (0, 2):
        scored = make_scores([[step / 2, 1.0], [0.0, 1.0]])
        numbers = {"eval/pass@1/correct": [step / 4], "eval/pass@2/correct": [np.nan]}
        scores = HeldOutScores.of(scored, ["p"], {n: np.array(v) for n, v in numbers.items()})
        write_json(run.evaluation(step), scores.to_json())
    results = ResultFolder(run.benchmark("gpqa", 2))
    results.path.mkdir(parents=True)
    results.claim({"questions": []})
    results.conclude(BenchmarkSummary(scores={"accuracy": Score(value=0.25, count=4)}))
    known = {"eval/rewards/correct/mean": 0.5, "eval/rewards/brief/mean": 1.0}
    found = kept_metrics(run, 2)
    assert found[2] == known | {"eval/pass@1/correct": 0.5, "eval/gpqa/accuracy": 0.25}
    assert found[0]["eval/pass@1/correct"] == 0
    assert kept_metrics(run, 1) == {}
    assert kept_metrics(run, 0) == {0: found[0]}
