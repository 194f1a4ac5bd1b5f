"""A budget of dollars ends a run with a checkpoint, and the run goes on where there is more."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tests.commands.test_train import metrics, samples, train, write_config
from tests.commands.test_train_judged import truth
from tests.judge.server import FakeEndpoint, criterion

pytestmark = pytest.mark.slow

STEPS = 3
CALL = 0.001
"""Dollars of a call: 100 tokens in at 8 a million, and 20 out at 10."""
PER_STEP = 2 * 4
"""Verdicts of each judge on the samples of a step."""
HELD_OUT = 4 * 2
"""The same on the samples of held-out prompts."""


def judged(cheap: str, gold: str, cache: Path, dollars: float | None) -> dict[str, Any]:
    """Sections of a run with a criterion for each of two judges; `gold` also examines."""

    def judge(url: str, **settings: Any) -> dict[str, Any]:
        endpoint = {"url": url, "concurrency": 2, "input_price": 8.0, "output_price": 10.0}
        return {"model": "judge", "endpoints": [endpoint], "cache": str(cache), **settings}

    def rubric(number: int, **settings: Any) -> dict[str, Any]:
        criteria = {"met": criterion(number)}
        return {"rubric": "channels", "criteria": criteria, **settings}

    return {
        "steps": STEPS,
        "checkpoint": {"every": 100},
        "data": {"held_out": {"function": "tests.toy:letters", "arguments": {"count": 4}}},
        "evaluate": {"every": 1, "samples_per_prompt": 2, "judge": "gold"},
        "rewards": {"easy": rubric(1), "hard": rubric(2, judge="gold")},
        "judge": judge(cheap),
        "judges": {"gold": judge(gold, budget={"dollars": dollars})},
    }


def said(output: str) -> str:
    return " ".join(output.split())


def learned(run: Path) -> list[dict[str, float]]:
    """Metrics that depend on scores alone, without those of an evaluation that came late."""
    took = ("judge/", "judges/", "eval/")
    return [{n: v for n, v in row.items() if not n.startswith(took)} for row in metrics(run)]


def evaluations(run: Path) -> dict[str, Any]:
    return {path.name: json.loads(path.read_text()) for path in sorted(run.glob("eval*/*.json"))}


def test_a_run_without_money_ends_with_a_checkpoint_and_goes_on_with_more(
    tiny_model: Path, tmp_path: Path
) -> None:
    cache, run = tmp_path / "cache.sqlite", tmp_path / "run"
    before = 1 + 2 * HELD_OUT  # of gold: the rehearsal, and both rewards before the first step
    enough = (before + PER_STEP + HELD_OUT + 2.5) * CALL  # for a step, and not for what follows
    with FakeEndpoint(truth=truth) as cheap, FakeEndpoint(truth=truth) as gold:
        config = write_config(tiny_model, tmp_path, **judged(cheap.url, gold.url, cache, enough))
        output = train(config, code=2)
        asked = len(gold.seen.arrivals)
        assert asked * CALL <= enough + 2 * CALL  # by what was in flight
        assert "judges.gold.budget.dollars:" in said(output)
        assert "Traceback" not in output
        assert [path.name for path in (run / "checkpoints").iterdir()] == ["step-000001"]
        assert len(metrics(run)) == 1
        again = train(config, "--resume", code=2)
        assert "judges.gold.budget.dollars: " in said(again)
        assert "step 1 is done and saved" in said(again)
        assert len(gold.seen.arrivals) == asked + 1  # the rehearsal, and nothing of a step
        train(config, "--resume", "judges.gold.budget.dollars=100")
        spent = sum(float(line) for line in (run / "spent" / "gold").read_text().split())
        assert spent == pytest.approx(len(gold.seen.arrivals) * CALL)
        assert {*cheap.seen.answered, *gold.seen.answered} >= {"item-1", "item-2"}
        whole = tmp_path / "whole"
        whole.mkdir()
        calls = len(gold.seen.arrivals)
        train(write_config(tiny_model, whole, **judged(cheap.url, gold.url, cache, None)))
        assert len(gold.seen.arrivals) == calls + 1  # the rehearsal: all the rest was known
    assert learned(run) == learned(whole / "run")
    assert samples(run) == samples(whole / "run")
    assert evaluations(run) == evaluations(whole / "run")
    assert len(metrics(run)) == STEPS
