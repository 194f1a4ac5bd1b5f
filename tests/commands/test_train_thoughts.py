"""A whole run of a thinking model: what its template is told, where its thoughts end, and who is
shown them."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web

from tests.commands.test_train import metrics, samples, train, write_config
from tests.judge.server import FakeEndpoint, completion
from tests.rollout.test_stops import with_template
from tests.rollout.test_template_values import SHAPES

pytestmark = pytest.mark.slow

BUDGET = 3


def test_a_thinking_model_trains_within_a_budget_and_its_thoughts_stay_its_own(
    tiny_model: Path, tmp_path: Path
) -> None:
    model = with_template(tiny_model, tmp_path / "m", SHAPES["opened or closed"])
    shown: list[str] = []

    def reply(body: Mapping[str, Any]) -> web.Response:
        shown.append(body["messages"][-1]["content"])
        return web.json_response(completion('{"reason": "So.", "met": true}'))

    terse = {"longest": 8, "margin": 8, "of": "thought"}
    with FakeEndpoint(script=reply) as endpoint:
        config = write_config(
            model,
            tmp_path,
            steps=2,
            model={"chat_template_kwargs": {"enable_thinking": True}},
            rollout={"max_thought_tokens": BUDGET, "max_completion_tokens": 16},
            rewards={
                "terse": {"function": "rvpo.rewards.length:soft_overlong", "arguments": terse},
                "care": {"rubric": "channels", "criteria": {"rest": "It advises rest."}},
            },
            judge={"model": "judge", "endpoints": [{"url": endpoint.url}], "cache": None},
        )
        said = train(config)
    assert "a thought begins with '<think>' and is ended with '</think>' after 3 tokens" in said
    for step in metrics(tmp_path / "run"):
        whole = step["completions/thought_mean_length"] + step["completions/answer_mean_length"]
        assert whole == pytest.approx(step["completions/mean_length"])
        assert step["completions/thought_ended_ratio"] > 0
        # The engine is sure of what it wrote, and the policy is not: that is no difference.
        assert step["sampling/sampling_logp_difference/max"] < 0.01
    answers = {row["answer"].strip() for row in samples(tmp_path / "run")}
    assert shown
    assert not any("</think>" in text for text in shown)
    read = {_response(text).strip() for text in shown}
    assert read - answers <= {"4"}  # of the question by which a run tries its judge
    other = "model.chat_template_kwargs.enable_thinking=false"
    refused = train(config, "--resume", "steps=3", other, code=2)
    assert "other settings in model.chat_template_kwargs.enable_thinking" in refused


def _response(text: str) -> str:
    (found,) = re.findall(r"^The response:\n=+\n(.*?)\n=+$", text, re.DOTALL | re.MULTILINE)
    return str(found)
