"""Settings of the update that are each allowed and do not go together."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from rvpo.config import dump_config, load_config
from rvpo.errors import ConfigError
from rvpo.trainer.config import UpdateConfig
from rvpo.trainer.unchanged import check_unchanged
from tests.configs import tiny_config


@settings(deadline=None)
@given(st.floats(1.01, 4), st.floats(0.01, 0.9), st.one_of(st.none(), st.floats(0.01, 2)))
def test_a_dual_clip_is_refused_where_the_clip_would_come_after_it(
    bound: float, epsilon: float, high: float | None
) -> None:
    update = UpdateConfig(dual_clip=bound, epsilon=epsilon, epsilon_high=high)
    problems = list(update.problems())
    if bound < 1 + (high or epsilon):
        assert len(problems) == 1
        assert problems[0].startswith(f"update.dual_clip: {bound} would bound the ratio before")
    else:
        assert problems == []


@pytest.mark.parametrize(
    ("setting", "value"), [("epsilon", 0.1), ("dual_clip", 3.0), ("dual_clip", 7.0)]
)
def test_cispo_refuses_what_it_would_ignore(setting: str, value: float) -> None:
    update = UpdateConfig.model_validate({"loss": "cispo", "epsilon_high": 5.0, setting: value})
    (problem,) = update.problems()
    assert problem.startswith(f"update.{setting}: {value} does nothing with cispo")


def test_a_floor_above_the_cap_is_refused_with_the_run() -> None:
    with pytest.raises(ValidationError, match=r"update\.correction_floor: 3\.0 is above"):
        tiny_config(Path("model"), update={"correction_floor": 3.0})


@pytest.mark.parametrize("loss", ["dapo", "cispo"])
def test_what_is_stored_of_a_run_is_a_valid_run(tmp_path: Path, loss: str) -> None:
    config = tiny_config(Path("model"), update={"loss": loss, "epsilon_high": 5.0})
    stored = tmp_path / "config.yaml"
    stored.write_text(dump_config(config))
    assert load_config(stored) == config


@pytest.mark.parametrize("loss", ["dapo", "grpo", "bnpo", "dr_grpo"])
def test_a_resumed_run_may_change_its_rows_but_where_the_loss_averages_over_them(
    tmp_path: Path, loss: str
) -> None:
    stored = tmp_path / "config.yaml"
    stored.write_text(dump_config(tiny_config(Path("model"), update={"loss": loss})))
    changed = tiny_config(Path("model"), update={"loss": loss, "micro_batch_tokens": 40})
    if loss == "bnpo":
        with pytest.raises(ConfigError, match=r"other settings in update\.micro_batch_tokens"):
            check_unchanged(changed, stored)
    else:
        check_unchanged(changed, stored)
