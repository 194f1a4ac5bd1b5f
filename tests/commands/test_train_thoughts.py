"""A whole run of a thinking model: what its template is told, and where its thoughts end."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.commands.test_train import train, write_config
from tests.rollout.test_stops import with_template
from tests.rollout.test_template_values import SHAPES

pytestmark = pytest.mark.slow


def test_a_thinking_model_trains_within_a_budget_and_stays_the_run_that_it_was(
    tiny_model: Path, tmp_path: Path
) -> None:
    model = with_template(tiny_model, tmp_path / "m", SHAPES["opened or closed"])
    terse = {"longest": 8, "margin": 8, "of": "thought"}
    config = write_config(
        model,
        tmp_path,
        steps=2,
        model={"chat_template_kwargs": {"enable_thinking": True}},
        rollout={"max_thought_tokens": 3, "max_completion_tokens": 16},
        rewards={
            "vowels": {"function": "tests.toy:vowels"},
            "terse": {"function": "rvpo.rewards.length:soft_overlong", "arguments": terse},
        },
    )
    said = train(config)
    assert "a thought begins with '<think>' and is ended with '</think>' after 3 tokens" in said
    folder = tmp_path / "run"
    lines = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    steps = [line for line in lines if "completions/mean_length" in line]
    assert len(steps) == 2
    for step in steps:
        whole = step["completions/thought_mean_length"] + step["completions/answer_mean_length"]
        assert whole == pytest.approx(step["completions/mean_length"])
        assert step["completions/thought_ended_ratio"] > 0
        # The engine is sure of what it wrote, and the policy is not: that is no difference.
        assert step["sampling/sampling_logp_difference/max"] < 0.01
    other = "model.chat_template_kwargs.enable_thinking=false"
    refused = train(config, "--resume", "steps=3", other, code=2)
    assert "other settings in model.chat_template_kwargs.enable_thinking" in refused
