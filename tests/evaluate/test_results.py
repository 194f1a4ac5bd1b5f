"""The folder of an evaluation's results, and what happens to it."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from rvpo.benchmarks.benchmark import BenchmarkSummary, Score
from rvpo.errors import CheckpointError, ConfigError
from rvpo.evaluate.results import RUN, ResultFolder
from tests.fakes import make_prompt

PROMPTS = [make_prompt(f"p/{n}", f"{n}?") for n in range(3)]
IDENTITY = {"limit": 3, RUN: {"seed": 0}}


@pytest.fixture
def folder(tmp_path: Path) -> ResultFolder:
    results = ResultFolder(tmp_path / "results")
    results.claim(IDENTITY)
    rows = [{"id": p.id, "prompt": [dict(m) for m in p.messages]} for p in PROMPTS]
    results.keep(0, rows)
    results.conclude(
        BenchmarkSummary(scores={"accuracy": Score(value=1.0, count=3, interval=(0.0, 1.0))})
    )
    return results


def lines(folder: ResultFolder) -> list[str]:
    return (folder.samples / "batch-000000.jsonl").read_text().splitlines(keepends=True)


def rewrite(change: Callable[[list[str]], list[str]]) -> Callable[[ResultFolder], None]:
    def damage(folder: ResultFolder) -> None:
        text = "".join(change(lines(folder)))
        (folder.samples / "batch-000000.jsonl").write_text(text)

    return damage


def test_what_was_kept_is_read_again(folder: ResultFolder) -> None:
    rows = folder.batch(0, PROMPTS)
    assert rows is not None
    assert [row["id"] for row in rows] == [prompt.id for prompt in PROMPTS]
    assert folder.batch(1, PROMPTS) is None
    summary = folder.concluded()
    assert summary is not None
    assert summary.scores["accuracy"] == Score(value=1.0, count=3, interval=(0.0, 1.0))
    folder.claim(IDENTITY)


@pytest.mark.parametrize(
    "damage",
    [
        rewrite(lambda rows: []),
        rewrite(lambda rows: rows[:2]),
        rewrite(lambda rows: rows * 2),
        rewrite(lambda rows: rows[::-1]),
        rewrite(lambda rows: [row.replace("1?", "2?") for row in rows]),
        rewrite(lambda rows: [*rows[:2], "null\n"]),
        rewrite(lambda rows: [*rows[:2], "{}\n"]),
        rewrite(lambda rows: [*rows[:2], rows[2][:10]]),
    ],
)
def test_a_batch_that_does_not_answer_its_prompts_is_refused(
    folder: ResultFolder, damage: Callable[[ResultFolder], None]
) -> None:
    damage(folder)
    with pytest.raises(
        CheckpointError, match=r"batch-000000\.jsonl is damaged .*; move it elsewhere"
    ):
        folder.batch(0, PROMPTS)


def test_samples_without_an_identity_are_not_adopted(folder: ResultFolder) -> None:
    folder.identity.unlink()
    with pytest.raises(CheckpointError, match=r"has samples, but no identity\.json"):
        folder.claim(IDENTITY)


def test_a_setting_that_is_gone_is_named_too(folder: ResultFolder) -> None:
    with pytest.raises(ConfigError, match="differ in limit,"):
        folder.claim({RUN: {"seed": 0}})


@pytest.mark.parametrize("text", ["", "[]", "{", "{}"])
def test_damaged_tables_are_named(folder: ResultFolder, text: str) -> None:
    folder.summary.write_text(text)
    with pytest.raises(CheckpointError, match=r"summary\.json is damaged"):
        folder.concluded()
    if text != "{}":
        folder.identity.write_text(text)
        with pytest.raises(CheckpointError, match=r"identity\.json is damaged"):
            folder.claim(IDENTITY)


def test_an_empty_folder_can_be_begun(folder: ResultFolder) -> None:
    shutil.rmtree(folder.path)
    folder.claim(IDENTITY)
    assert json.loads(folder.identity.read_text()) == IDENTITY
