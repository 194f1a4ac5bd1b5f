"""The card of a trained model: what it tells, and what it keeps to itself."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import yaml

from rvpo.config.run import RunConfig, dump_config
from rvpo.page.card import card_of, plain
from rvpo.page.history import RunHistory
from rvpo.report.run_folder import RunFolder, write_json
from tests.configs import tiny_settings
from tests.page.test_page import REWARDS, held_out


@pytest.fixture
def run(tmp_path: Path) -> RunHistory:
    settings = tiny_settings(tmp_path / "base", tmp_path / "run")
    settings["data"] = {
        "train": {"path": "openai/gsm8k", "subset": "main", "prompt_column": "question"},
        "held_out": {"path": "/home/someone/private|rows.jsonl"},
    }
    settings["judge"] = {"model": "gpt-x", "endpoints": [{"url": "http://10.1.2.3:8000/v1"}]}
    settings["rewards"]["care"] = {"rubric": "explicit", "criteria": {"kind": "It is kind."}}
    config = RunConfig.model_validate(settings)
    return RunHistory(RunFolder.create(tmp_path / "run", dump_config(config), {"rvpo": "0.1"}))


def card(run: RunHistory, step: int = 5) -> str:
    return card_of(run, name="someone/small", step=step, licence="mit")


def test_the_hub_reads_licence_and_data(run: RunHistory) -> None:
    found = yaml.safe_load(card(run).split("---")[1])
    assert found["license"] == "mit"
    assert found["datasets"] == ["openai/gsm8k"]
    assert "base_model" not in found


def test_places_and_addresses_stay_at_home(run: RunHistory, tmp_path: Path) -> None:
    text = card(run)
    for private in ("/home/someone", "10.1.2.3", str(tmp_path)):
        assert private not in text
    assert r"private\|rows.jsonl" in text


def test_held_out_scores_stand_with_their_test(run: RunHistory) -> None:
    for step in (0, 5):
        scores = held_out(np.random.default_rng(step))
        write_json(run.folder.evaluation(step), scores.to_json())
    text = card(run)
    assert all(f"| {name} |" in text for name in REWARDS)
    assert "sign-flip" in text


def test_a_run_without_held_out_scores_says_so(run: RunHistory) -> None:
    assert "Nothing was scored on held-out prompts" in card(run)


def test_a_judge_without_a_second_one_is_named_as_a_limit(run: RunHistory) -> None:
    assert "no other judge looked at the same answers" in card(run)


@pytest.mark.parametrize("text", ["a|b", "<script>", "[x](javascript:y)", "# no\nheading", "`c`"])
def test_texts_of_a_run_are_no_markup(text: str) -> None:
    shown = plain(text)
    assert "\n" not in shown
    for mark in "|<>[]()`#":
        assert shown.count(mark) == shown.count(f"\\{mark}")


def test_folders_here_are_no_repositories(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for folder in ("models/mine", "data/train"):
        Path(folder).mkdir(parents=True)
    settings = tiny_settings(Path("models/mine"), tmp_path / "run")
    settings["model"]["path"] = "models/mine"
    settings["data"] = {"train": {"path": "data/train"}}
    settings["judge"] = {"model": "/home/bob/secret", "endpoints": [{"url": "http://10.1.2.3/v1"}]}
    config = RunConfig.model_validate(settings)
    run = RunHistory(RunFolder.create(tmp_path / "run", dump_config(config), {}))
    text = card(run)
    found = yaml.safe_load(text.split("---")[1])
    assert "base_model" not in found
    assert "datasets" not in found
    for private in ("models/mine", "data/train", "/home/bob"):
        assert private not in text
