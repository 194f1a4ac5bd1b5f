"""`rvpo data` shows what a run reads, and says what it would stop at."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import yaml
from typer.testing import CliRunner, Result

from rvpo.cli import app
from tests.configs import tiny_settings

RUBRIC = [
    {"text": "It advises rest.", "points": 5.0, "axis": "care"},
    {"text": "It blames the runner.", "polarity": "negative"},
]
ROWS = [
    {"id": "knee", "prompt": "My knee hurts. <|im_end|>", "rubric": RUBRIC, "answer": 1},
    {"id": "back", "prompt": "My back hurts.", "rubric": RUBRIC[:1], "answer": 2},
    {"id": "again", "prompt": "my back  hurts", "rubric": [], "answer": None},
]
REWARDS = {
    "care": {"rubric": "channels"},
    "vowels": {"function": "tests.toy:vowels"},
}


@pytest.fixture(autouse=True)
def _no_hub(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")


def data(folder: Path, model: Path, *words: str, **sections: Any) -> Result:
    (folder / "rows.jsonl").write_text("\n".join(map(json.dumps, ROWS)))
    (folder / "other.jsonl").write_text(json.dumps(ROWS[1] | {"id": "held"}))
    paths = {n: {"path": str(folder / f"{n}.jsonl")} for n in ("rows", "other")}
    settings = tiny_settings(
        model,
        folder / "run",
        data={"train": paths["rows"], "held_out": paths["other"]},
        judge={"model": "fake", "endpoints": [{"url": "http://127.0.0.1:9/v1"}]},
        **{"rewards": REWARDS, **sections},
    )
    file = folder / "run.yaml"
    file.write_text(yaml.safe_dump(settings))
    return CliRunner().invoke(app, ["data", "--config", str(file), *words])


def test_the_data_are_shown_as_the_model_reads_them(tiny_model: Path, tmp_path: Path) -> None:
    result = data(tmp_path, tiny_model)
    assert result.exit_code == 0, result.output
    shown = result.output
    for line in (
        f"data.train  {tmp_path / 'rows.jsonl'}",
        "  prompts   3, of which 1 ask what an earlier one asks: ('again' as 'back')",
        "  messages  3 user; 0 prompts of several turns, 0 with tools",
        "  column    answer: number in 2 rows, such as 1",
        "  --- prompt 'back',",
        "  | <|im_start|>user",
        "      care + It advises rest. (important, 5 points, care)",
        "      care - It blames the runner. (important, 1 points)",
        "rewards.care: criteria in 3 prompts: 3 positive, 1 negative; 4 important; 3 care",
        "held out and trained on: 1 ('held' as 'back')",
    ):
        assert line in shown
    assert not (tmp_path / "run").exists()


def test_without_the_model_lengths_are_in_words_and_that_is_said(tmp_path: Path) -> None:
    result = data(tmp_path, tmp_path / "no-model", "--examples", "1")
    assert result.exit_code == 0, result.output
    assert "  words     3 to 4" in result.output
    assert "lengths are in words, and prompts are shown without the chat template" in result.output
    assert "  | user: My knee hurts. <|im_end|>" in result.output
    assert "'back'," not in result.output


def test_what_a_run_would_stop_at_is_said_and_the_rest_is_shown(
    tiny_model: Path, tmp_path: Path
) -> None:
    result = data(tmp_path, tiny_model, rollout={"max_completion_tokens": 500})
    assert result.exit_code == 1
    assert "missing data.train: 3 of 3 prompts are too long" in result.output
    assert result.output.rstrip().endswith("A run cannot start with these data.")
    assert "  | <|im_start|>user" in result.output
    file = tmp_path / "run.yaml"
    gone = CliRunner().invoke(app, ["data", "--config", str(file), "data.train.path=gone.jsonl"])
    assert gone.exit_code == 1
    assert "missing data.train:" in gone.output


def test_the_page_needs_nothing_else_and_runs_nothing_of_the_data(
    tiny_model: Path, tmp_path: Path
) -> None:
    page = tmp_path / "data.html"
    rows = [{"prompt": "<script>alert(1)</script>", "answer": "</pre><b>\u202e"}]
    (tmp_path / "odd.jsonl").write_text(json.dumps(rows[0]))
    odd = f"data.train.path={tmp_path / 'odd.jsonl'}"
    rewards = {"vowels": REWARDS["vowels"]}
    result = data(tmp_path, tiny_model, odd, "--html", str(page), rewards=rewards)
    assert result.exit_code == 0, result.output
    text = page.read_text()
    assert "<mark>&lt;|im_start|&gt;</mark>user" in text
    assert "&lt;script&gt;alert(1)&lt;/script&gt;" in text
    assert "<script" not in text
    assert "\u202e" not in text
    assert "http" not in text
    for told in ("data.train", "Columns that rewards receive", "1 held-out"):
        assert (told in text) == (told != "1 held-out")


def test_the_page_shows_criteria_overlaps_and_problems(tiny_model: Path, tmp_path: Path) -> None:
    page = tmp_path / "data.html"
    result = data(tmp_path, tiny_model, "--html", str(page), rollout={"max_completion_tokens": 500})
    assert result.exit_code == 1
    text = page.read_text()
    for told in (
        "A run cannot start with these data",
        "3 of 3 prompts are too long",
        '<span class="chip worst">negative</span> It blames the runner. (important, 1 points)',
        "1 held-out prompts ask what is trained on: <code>held</code> as <code>back</code>.",
        "1 ask what an earlier one asks: <code>again</code> as <code>back</code>.",
    ):
        assert told in text


def test_a_page_that_cannot_be_written_is_one_sentence(tiny_model: Path, tmp_path: Path) -> None:
    result = data(tmp_path, tiny_model, "--html", str(tmp_path))
    assert result.exit_code == 2
    assert "is a folder; name a file, such as" in result.output
