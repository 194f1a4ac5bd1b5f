"""Settings of the update that are each allowed and do not go together."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from rvpo.advantage import GRPO
from rvpo.config.diff import check_unchanged
from rvpo.config.run import dump_config, load_config
from rvpo.config.update import UpdateConfig
from rvpo.errors import ConfigError
from tests.configs import tiny_config


@given(st.floats(1.01, 4), st.floats(0.01, 0.9), st.one_of(st.none(), st.floats(0.01, 2)))
def test_a_dual_clip_is_refused_where_the_clip_would_come_after_it(
    bound: float, epsilon: float, high: float | None
) -> None:
    given = {"dual_clip": bound, "epsilon": epsilon, "epsilon_high": high}
    if bound < 1 + (high or epsilon):
        with pytest.raises(ValidationError, match=f"dual_clip: {bound} would bound the ratio"):
            UpdateConfig.model_validate(given)
    else:
        UpdateConfig.model_validate(given)


@pytest.mark.parametrize(
    ("setting", "value"), [("epsilon", 0.1), ("dual_clip", 3.0), ("dual_clip", 7.0)]
)
def test_cispo_refuses_what_it_would_ignore(setting: str, value: float) -> None:
    with pytest.raises(ValidationError, match=rf"loss\.cispo\.{setting}\n.*not permitted"):
        UpdateConfig.model_validate({"loss": "cispo", "epsilon_high": 5.0, setting: value})


def test_a_floor_above_the_cap_is_refused_with_the_run() -> None:
    with pytest.raises(ValidationError, match=r"floor: 3\.0 is above cap: 2\.0"):
        tiny_config(Path("model"), update={"correction_floor": 3.0})


def test_vespo_refuses_weights_of_whole_samples() -> None:
    update = UpdateConfig.model_validate({"loss": "vespo", "correction": "sequence_mask"})
    (problem,) = update.problems()
    assert problem.startswith("update.correction: vespo makes one weight of a sample's tokens")


@pytest.mark.parametrize(
    ("optimizer", "offloaded", "words"),
    [
        ("cpu_adam", False, r"update\.optimizer: cpu_adam .*offload_optimizer=true"),
        ("adamw_8bit", True, r"update\.optimizer: adamw_8bit .*offload_optimizer=false"),
        ("cpu_adam", True, None),
        ("adamw_8bit", False, None),
        ("adamw", True, None),
        ("adamw", False, None),
    ],
)
def test_an_optimizer_in_the_wrong_memory_is_refused_with_the_run(
    optimizer: str, offloaded: bool, words: str | None
) -> None:
    update = {"optimizer": optimizer, "offload_optimizer": offloaded}
    if words is None:
        assert tiny_config(Path("model"), update=update).update.optimizer == optimizer
    else:
        with pytest.raises(ValidationError, match=words):
            tiny_config(Path("model"), update=update)


@pytest.mark.parametrize(
    ("short", "section"),
    [
        ({"loss": "gspo"}, {"loss": {"name": "gspo", "epsilon": 3e-4, "epsilon_high": 4e-4}}),
        (
            {"loss": "gspo", "epsilon": 0.05},
            {"loss": {"name": "gspo", "epsilon": 0.05, "epsilon_high": None}},
        ),
        (
            {"epsilon": 0.1, "dual_clip": 3},
            {"loss": {"name": "dapo", "epsilon": 0.1, "dual_clip": 3}},
        ),
        (
            {"loss": "cispo", "epsilon": 0.2, "epsilon_high": 4, "dual_clip": None},
            {"loss": {"name": "cispo", "cap": 4}},
        ),
        ({"loss": {"epsilon": 0.3}}, {"loss": {"name": "dapo", "epsilon": 0.3}}),
        (
            {"correction": "sequence_mask", "correction_cap": 3.0, "correction_floor": 0.0},
            {"correction": {"name": "mask", "level": "sequence", "cap": 3.0, "floor": 0.0}},
        ),
        ({"correction": "token_truncate", "correction_floor": None}, {}),
        ({"correction": "none", "correction_cap": 2.0}, {"correction": {"name": "none"}}),
    ],
    ids=str,
)
def test_a_shorter_spelling_means_its_section(
    short: dict[str, Any], section: dict[str, Any]
) -> None:
    assert UpdateConfig.model_validate(short) == UpdateConfig.model_validate(section)


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


@pytest.mark.parametrize(("by_std", "scale"), [(True, "group"), (False, "none")])
def test_an_older_word_for_the_scale_of_grpo_still_works(by_std: bool, scale: str) -> None:
    older = tiny_config(Path("model"), advantage={"name": "grpo", "scale_by_std": by_std})
    assert older.advantage == GRPO(scale=scale)  # type: ignore[arg-type]


def test_logits_exist_for_more_tokens_at_a_time_on_gpus_unless_it_is_said() -> None:
    usual = UpdateConfig()
    assert (usual.chunk(on_gpu=False), usual.chunk(on_gpu=True)) == (512, 2048)
    chosen = UpdateConfig(logits_chunk=64)
    assert (chosen.chunk(on_gpu=False), chosen.chunk(on_gpu=True)) == (64, 64)
