"""A run that a gold judge watches, from the command line, with an endpoint for each judge."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web

from tests.commands.test_train import count_steps, metrics, train, write_config
from tests.judge.server import FakeEndpoint, completion, verdict

pytestmark = pytest.mark.slow


def sections(training: FakeEndpoint, gold: FakeEndpoint) -> dict[str, Any]:
    def judge(endpoint: FakeEndpoint) -> dict[str, Any]:
        return {"model": "judge", "endpoints": [{"url": endpoint.url}], "cache": None}

    return {
        "steps": 6,
        "data": {"held_out": {"function": "tests.toy:letters", "arguments": {"count": 2}}},
        "rewards": {
            "judged": {"rubric": "channels", "criteria": {"kind": "It is kind."}},
            "late": {"function": "tests.toy:late"},
        },
        "judge": judge(training),
        "judges": {"gold": judge(gold)},
        "evaluate": {
            "samples_per_prompt": 2,
            "every": 1,
            "gold": {"judge": "gold", "stop": {"growth": 0.5, "times": 1}},
        },
        "checkpoint": {"every": 4, "best": "eval/gold/rewards/judged/mean"},
    }


def test_a_run_whose_gap_grows_ends_in_order_and_ends_again_where_it_is_resumed(
    tiny_model: Path, tmp_path: Path
) -> None:
    run = tmp_path / "run"

    def turns_away(body: Mapping[str, Any]) -> web.Response:
        """Agrees with the judge that finds all kind, until a step is done."""
        return web.json_response(completion(verdict(count_steps(run) < 1)))

    with (
        FakeEndpoint(truth=lambda shown: True) as training,
        FakeEndpoint(script=turns_away) as gold,
    ):
        config = write_config(tiny_model, tmp_path, **sections(training, gold))
        check_ended(train(config), run)
        check_ended(train(run / "config.yaml", "--resume"), run)
    rows = metrics(run)
    assert [row["judge_gap/judged"] for row in rows] == [0, 1]
    assert [row["eval/gold/rewards/judged/kind/mean"] for row in rows] == [1, 0]


def check_ended(output: str, run: Path) -> None:
    words = " ".join(output.split())
    assert "evaluate.gold.stop: the run ends here" in words
    assert "by 1.000 after step 2: more than growth=0.5 from 0.000" in words
    assert "Held-out prompts by the training judge and by gold, before and after" in words
    assert "Traceback" not in words
    assert count_steps(run) == 2
    assert (run / "model" / "config.json").exists()
    assert (run / "checkpoints" / "step-000002").is_dir()
    assert json.loads((run / "best.json").read_text())["step"] == 1
    changed = json.loads((run / "held_out.json").read_text())["gold"]["rewards"]["judged"]
    assert (changed["gap"]["before"], changed["gap"]["after"]) == (0, 1)
    assert changed["only_training"] == 1
