"""How a model is spoken to: values for its chat template, and markers of its thoughts."""

from __future__ import annotations

import datetime
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from rvpo.commands.show import shown
from rvpo.config.diff import MAY_CHANGE_ON_RESUME, changed_settings
from rvpo.config.evaluation import load_evaluation
from rvpo.config.run import RunConfig, dump_config, load_config
from rvpo.errors import ConfigError
from tests.configs import tiny_settings

plain = st.recursive(
    st.none() | st.booleans() | st.integers(-5, 5) | st.floats(-1, 1) | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.sampled_from("ab"), inner),
    max_leaves=4,
)


def run_file(folder: Path, **model: Any) -> Path:
    file = folder / "run.yaml"
    settings = tiny_settings(Path("m"), folder / "out")
    settings["model"] |= model
    file.write_text(yaml.safe_dump(settings))
    return file


def config_of(**model: Any) -> RunConfig:
    settings = tiny_settings(Path("m"), Path("out"))
    settings["model"] |= model
    return RunConfig.model_validate(settings)


def test_show_has_them_and_reads_them_back(tmp_path: Path) -> None:
    file = run_file(
        tmp_path,
        chat_template_kwargs={"enable_thinking": False},
        thinking={"open": "<mull>", "close": "</mull>"},
    )
    text = shown(file, ["model.chat_template_kwargs.effort=low"], "utf-8")
    model = yaml.safe_load(text)["model"]
    assert model["chat_template_kwargs"] == {"enable_thinking": False, "effort": "low"}
    assert model["thinking"] == {"open": "<mull>", "close": "</mull>"}


@given(st.dictionaries(st.sampled_from(["effort", "own", "é"]), plain, max_size=3))
@settings(deadline=None, max_examples=12)
def test_values_are_kept_as_they_are(values: dict[str, Any]) -> None:
    config = config_of(chat_template_kwargs=values)
    again = RunConfig.model_validate(yaml.safe_load(dump_config(config)))
    assert again == config
    assert again.model.chat_template_kwargs == values


@pytest.mark.parametrize(
    ("value", "where"),
    [
        (datetime.date(2024, 7, 26), "date_string"),
        (float("nan"), "date_string"),
        ([1, float("inf")], r"date_string\[1\]"),
        ({"a": {"b": datetime.date(2024, 7, 26)}}, r"date_string\.a\.b"),
    ],
)
def test_a_value_that_no_file_can_keep_is_refused(value: Any, where: str, tmp_path: Path) -> None:
    file = run_file(tmp_path, chat_template_kwargs={"date_string": value})
    with pytest.raises(ConfigError, match=rf"model\.chat_template_kwargs: {where}: .*in quotes"):
        load_config(file, [])


@pytest.mark.parametrize(
    ("markers", "said"),
    [
        ({"open": "<mull>", "close": " "}, r"model\.thinking\.close: must be the text"),
        ({"open": "", "close": "</mull>"}, r"model\.thinking\.open: must be the text"),
        ({"open": "***", "close": "***"}, r"model\.thinking: close: '\*\*\*' holds the marker"),
        ({"open": "<m", "close": "</m><m>"}, r"model\.thinking: close: .* told apart"),
        ({"open": "<mull>"}, r"model\.thinking\.close: required and not given"),
    ],
)
def test_markers_that_cannot_be_told_apart_are_refused(
    markers: dict[str, str], said: str, tmp_path: Path
) -> None:
    with pytest.raises(ConfigError, match=said):
        load_config(run_file(tmp_path, thinking=markers), [])


@pytest.mark.parametrize(
    ("model", "name"),
    [
        ({"chat_template_kwargs": {"enable_thinking": False}}, "chat_template_kwargs"),
        ({"thinking": {"open": "<mull>", "close": "</mull>"}}, "thinking"),
    ],
)
def test_another_value_is_another_run(model: dict[str, Any], name: str) -> None:
    changed = changed_settings(config_of(), config_of(**model), MAY_CHANGE_ON_RESUME)
    assert changed
    assert all(each.startswith(f"model.{name}") for each in changed)


def test_an_evaluation_of_a_runs_file_takes_them(tmp_path: Path) -> None:
    file = run_file(tmp_path, chat_template_kwargs={"enable_thinking": False})
    config = load_evaluation(file, ["gpqa"], "other", ["benchmarks.gpqa.path=unread.csv"])
    assert config.model.chat_template_kwargs == {"enable_thinking": False}


@pytest.mark.parametrize(
    ("rollout", "said"),
    [
        ({"max_thought_tokens": 8}, "max_thought_tokens: 8 leaves no room for an answer"),
        ({"max_thought_tokens": -1}, "max_thought_tokens: must be at least 0"),
    ],
)
def test_a_budget_of_thoughts_leaves_room_for_an_answer(
    rollout: dict[str, Any], said: str, tmp_path: Path
) -> None:
    file = run_file(tmp_path)
    with pytest.raises(ConfigError, match=said):
        load_config(file, [f"rollout.{name}={value}" for name, value in rollout.items()])
