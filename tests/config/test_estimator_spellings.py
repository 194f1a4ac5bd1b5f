"""Older words for what an estimator does: they become today's, or a sentence says what to write."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from rvpo.advantage import GDPO, GRPO, RVPO, HardMin, MeanVariance, RawRVPO
from rvpo.config.diff import check_unchanged
from rvpo.config.run import dump_config, load_config
from rvpo.errors import ConfigError
from tests.configs import tiny_config

Z_SCORE = {"gdpo": GDPO, "rvpo": RVPO, "hard_min": HardMin, "mean_variance": MeanVariance}
RAW_SKIPPING = {"name": "raw_rvpo", "missing": "skip_sample"}


def chosen(**advantage: Any) -> Any:
    return tiny_config(Path("model"), advantage=advantage).advantage


def refusal(tmp_path: Path, advantage: str) -> str:
    file = tmp_path / "run.yaml"
    file.write_text(dump_config(tiny_config(Path("model"))), encoding="utf-8")
    with pytest.raises(ConfigError) as it:
        load_config(file, [f"advantage={advantage}"])
    return str(it.value)


@pytest.mark.parametrize(("older", "rule"), [("neutral", "group_mean"), ("sum", "zero")])
def test_words_of_grpo_for_missing_scores(older: str, rule: Any) -> None:
    assert chosen(name="grpo", missing=older) == GRPO(missing=rule)


@pytest.mark.parametrize("name", Z_SCORE)
def test_require_all_is_a_rule_for_missing_scores(name: str) -> None:
    kind = Z_SCORE[name]
    assert chosen(name=name, require_all=True) == kind(missing="skip_sample")
    assert chosen(name=name, require_all=False, standardise=True) == kind()
    assert chosen(name=name, require_all=False, missing="zero") == kind(missing="zero")


@pytest.mark.parametrize("off", [False, "false", 0])
def test_rvpo_without_z_scores_is_raw_rvpo(off: Any) -> None:
    older = chosen(name="rvpo", standardise=off, k=2, dead_groups="mask", whiten=False)
    assert older == RawRVPO(k=2, dead_groups="mask", whiten=False)
    assert chosen(name="rvpo", standardise=off, require_all=True).missing == "skip_sample"
    assert chosen(name="rvpo", standardise=off, require_all=False).missing == "group_mean"


@pytest.mark.parametrize(
    ("name", "instead"),
    [
        ("gdpo", "write {name: grpo}, or {name: raw_rvpo, k: 0} to whiten"),
        ("hard_min", "write {name: raw_rvpo, k: .inf}"),
        ("mean_variance", "write {name: raw_rvpo, k: ...}, with twice its beta for k"),
    ],
)
def test_others_without_z_scores_are_refused_with_what_to_write(
    tmp_path: Path, name: str, instead: str
) -> None:
    said = refusal(tmp_path, f"{{name: {name}, standardise: false}}")
    assert f"advantage: {name} with standardise: false " in said
    assert instead in said


def test_two_rules_that_contradict_each_other_are_refused(tmp_path: Path) -> None:
    said = refusal(tmp_path, "{name: rvpo, require_all: true, missing: drop}")
    assert "require_all: true means missing: skip_sample, and missing: drop is given too" in said
    same = chosen(name="rvpo", require_all=True, missing="skip_sample")
    assert same == RVPO(missing="skip_sample")


@pytest.mark.parametrize("switch", ["require_all", "standardise"])
def test_a_switch_is_on_or_off(tmp_path: Path, switch: str) -> None:
    said = refusal(tmp_path, f"{{name: rvpo, {switch}: often}}")
    assert f"{switch} must be true or false, got 'often'" in said


@pytest.mark.parametrize("name", ["grpo", "raw_rvpo"])
def test_estimators_without_z_scores_never_had_the_switch(tmp_path: Path, name: str) -> None:
    assert "standardise: no such setting" in refusal(
        tmp_path, f"{{name: {name}, standardise: false}}"
    )


def test_an_unknown_rule_names_the_four(tmp_path: Path) -> None:
    said = refusal(tmp_path, "{name: rvpo, missing: mean}")
    assert all(rule in said for rule in ("drop", "group_mean", "zero", "skip_sample"))


def test_a_run_is_stored_in_the_words_of_today() -> None:
    stored = dump_config(
        tiny_config(Path("model"), advantage={"name": "rvpo", "standardise": False})
    )
    assert "raw_rvpo" in stored
    assert "standardise" not in stored


@pytest.mark.parametrize(
    ("older", "advantage"),
    [
        ("{name: grpo, missing: neutral, scale: group}", {"name": "grpo"}),
        ("{name: rvpo, require_all: false, standardise: true}", {"name": "rvpo"}),
        ("{name: rvpo, require_all: true, standardise: false}", RAW_SKIPPING),
    ],
)
def test_a_run_stored_in_older_words_goes_on(
    tmp_path: Path, older: str, advantage: dict[str, Any]
) -> None:
    config = tiny_config(Path("model"), advantage=advantage)
    settings = yaml.safe_load(dump_config(config)) | {"advantage": yaml.safe_load(older)}
    stored = tmp_path / "config.yaml"
    stored.write_text(yaml.safe_dump(settings), encoding="utf-8")
    check_unchanged(config, stored)
