"""A benchmark whose judge has cost what it may ends in one sentence and goes on later."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from rvpo.benchmarks.healthbench.healthbench import HealthBench, HealthBenchConfig
from rvpo.config.judge import JudgeConfig
from rvpo.errors import SpentError
from rvpo.evaluate.build import grader_of
from rvpo.evaluate.during import DuringTraining
from rvpo.judge.spending import SPENT
from rvpo.judge.types import Answer, Question
from rvpo.report.run_folder import RunFolder
from rvpo.runtime.ignore import ignore
from tests.fakes import FakeJudge, on_each_rank
from tests.test_thinking import Says

JUDGE = JudgeConfig.model_validate({"model": "j", "endpoints": [{"url": "http://127.0.0.1:1"}]})


def benchmark(folder: Path, rule: Callable[[str, Question], Answer]) -> HealthBench:
    file = folder / "records.jsonl"
    rows = [
        {
            "prompt_id": f"p{number}",
            "prompt": [{"role": "user", "content": f"Is it safe, {number}?"}],
            "rubrics": [{"criterion": "Says so.", "points": 5, "tags": ["axis:accuracy"]}],
            "canary": "invented",
            "example_tags": [],
        }
        for number in range(3)
    ]
    file.write_text("".join(json.dumps(row) + "\n" for row in rows))
    read = HealthBenchConfig.model_validate({"path": str(file)}).read(ignore)
    return read.with_judge(grader_of(JUDGE, FakeJudge(rule)))


def test_what_there_was_no_money_for_is_asked_by_the_next_start_alone(tmp_path: Path) -> None:
    asked: list[str] = []

    def poor(response: str, question: Question) -> Answer:
        if "safe, 1" in question.text:
            return Answer(value=None, failure=SPENT)
        return Answer(value=1.0)

    def rich(response: str, question: Question) -> Answer:
        asked.append(question.text)
        return Answer(value=0.0)

    engine: Any = Says("Yes.")
    folder = RunFolder(tmp_path / "run")

    both = {name: benchmark(tmp_path, rule) for name, rule in (("poor", poor), ("rich", rich))}

    def on_ranks(name: str, act: Callable[[DuringTraining], Any]) -> list[Any]:
        return on_each_rank(
            lambda ranks: act(
                DuringTraining(
                    [both[name]],
                    engine,
                    ranks,
                    folder,
                    every=2,
                    last_step=4,
                    seed=0,
                    say=ignore,
                )
            )
        )

    assert on_ranks("poor", lambda it: it.lacks(2)) == [True, True]
    for error in on_ranks("poor", lambda it: it(2)):  # one rank alone asked in vain
        assert isinstance(error, SpentError)
        assert str(error).startswith("healthbench: the dollars that its judge may cost are spent")
    assert on_ranks("rich", lambda it: it.lacks(2)) == [True, True]
    for scores in on_ranks("rich", lambda it: it(2)):
        assert scores["eval/healthbench/overall"] == pytest.approx(2 / 3)
    assert len(asked) == 1
    assert on_ranks("poor", lambda it: it.lacks(2)) == [False, False]
    assert on_ranks("poor", lambda it: it.lacks(3)) == [False, False]  # none is due
