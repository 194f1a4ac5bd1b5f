"""`rvpo replay` and `rvpo advise`, as they are called."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from typer.testing import CliRunner, Result

from rvpo.cli import app
from rvpo.report.run_folder import RunFolder
from rvpo.report.sample_files import samples_of
from rvpo.report.score_files import read_scores, write_scores
from rvpo.types import Rewards
from tests.replay.stored import random_rewards, scored, store
from tests.replay.test_replayed import rubric

JUDGE = {"model": "m", "endpoints": [{"url": "http://localhost:1"}]}


def called(*words: object) -> Result:
    return CliRunner().invoke(app, [str(word) for word in words], env={"COLUMNS": "160"})


@pytest.fixture
def run(tmp_path: Path) -> Path:
    store(tmp_path / "run", [scored(random_rewards(seed)) for seed in range(6)])
    return tmp_path / "run"


def test_replay_says_that_the_own_estimator_reproduces_and_what_others_do(run: Path) -> None:
    found = called("replay", run, "--advantage", "grpo", "--k", 8, "--json", run / "r.json")
    assert found.exit_code == 0, found.output
    assert "6 steps by rvpo, the run's own: largest difference from the stored" in found.output
    told = json.loads((run / "r.json").read_text())
    assert told["reproduced"] <= 1e-6
    assert [each["title"] for each in told["estimators"]] == ["rvpo", "grpo", "rvpo k=8"]
    for each in told["estimators"]:
        assert set(each["rewards"]) == {"vowels", "late"}
        assert [step["step"] for step in each["steps"]] == [1, 2, 3, 4, 5, 6]
        assert {prompt["prompt"] for prompt in each["prompts"]} == {"p0", "p1", "p2", "p3"}
    assert told["estimators"][1]["flipped"] > 0


def test_a_page_has_a_figure_of_pulls_and_one_of_signs(run: Path) -> None:
    assert called("replay", run, "--advantage", "grpo", "--page", run / "p.html").exit_code == 0
    page = (run / "p.html").read_text()
    assert page.count("<figure") == 2
    assert "Pull of each reward" in page


def test_scores_stay_where_samples_do_not(run: Path) -> None:
    for path in (run / "samples").iterdir():
        path.unlink()
    assert called("replay", run, "--advantage", "gdpo").exit_code == 0


def refused(*words: object) -> str:
    found = called(*words)
    assert found.exit_code == 2
    assert "Traceback" not in found.output
    return " ".join(found.output.split())


def test_no_such_run_is_refused_by_a_sentence(tmp_path: Path) -> None:
    for command in ("replay", "advise"):
        assert "holds no run; give the folder of one" in refused(command, tmp_path / "none")


def test_a_comparison_names_a_run_in_it(run: Path) -> None:
    assert f"such as {run}" in refused("replay", run.parent)


def test_an_unknown_estimator_names_the_nearest(run: Path) -> None:
    assert "did you mean 'rvpo'?" in refused("replay", run, "--advantage", "rvpoo")
    assert "no such setting" in refused("replay", run, "--advantage", "{name: grpo, k: 1}")
    assert "give a name, or a table" in refused("replay", run, "--advantage", "{name")


def test_an_own_estimator_without_k_refuses_k(tmp_path: Path) -> None:
    store(tmp_path / "run", [scored(random_rewards(0))], advantage={"name": "grpo"})
    assert "estimator grpo has no k" in refused("replay", tmp_path / "run", "--k", 1)


@pytest.mark.parametrize("text", ["", "a", "0", "3-1", "1-", "-2", "1,,2", "1-99999999999"])
def test_steps_that_are_none_are_refused(text: str, run: Path) -> None:
    assert "--steps" in refused("replay", run, f"--steps={text}")


def test_steps_that_are_not_there_are_named_with_those_that_are(tmp_path: Path) -> None:
    run = tmp_path / "run"
    store(run, [scored(random_rewards(seed)) for seed in range(6)], matrix=False)
    for step in (2, 3):
        (run / f"samples/step-{step:06d}.rank-0.jsonl").unlink()
    assert "2 of 6 steps have neither scores nor samples" in refused("replay", run)
    assert "give --steps 1,4-6" in refused("replay", run)
    assert called("replay", run, "--steps", "1,4-6").exit_code == 0


def test_a_step_that_a_going_run_has_only_begun_to_report_is_not_read(run: Path) -> None:
    metrics = run / "metrics.jsonl"
    metrics.write_text("{}\n" * 5)
    (run / "scores/step-000006.npz").unlink()
    for command in ("replay", "advise"):
        assert called(command, run, "--steps", "1-5").exit_code == 0
        assert "has done 5 steps" in refused(command, run, "--steps", "1-6")
    assert "5 steps by rvpo" in called("replay", run).output


@pytest.mark.parametrize(
    ("command", "option"), [("replay", "--json"), ("replay", "--page"), ("advise", "--json")]
)
def test_a_file_that_cannot_be_written_is_named_with_its_option(
    command: str, option: str, run: Path
) -> None:
    said = refused(command, run, option, run / "config.yaml" / "file")
    assert "cannot be written (File exists)" in said
    assert f"write elsewhere, with another {option} FILE" in said


def test_steps_that_were_never_done_are_not_said_to_be_removed(run: Path) -> None:
    assert "has done 6 steps; give steps from 1 to 6" in refused("replay", run, "--steps", "5-9")


def test_advantages_that_are_no_numbers_are_damage(run: Path) -> None:
    folder = RunFolder(run)
    scores = read_scores(folder, 1)
    write_scores(folder, replace(scores, advantages=scores.advantages * math.nan))
    assert "its advantages are not all numbers" in refused("replay", run)


DAMAGES: list[Any] = [
    lambda raw: b"",
    lambda raw: raw[: len(raw) // 2],
    lambda raw: b"text",
    lambda raw: b"PK" + raw[::-1],
    lambda raw: raw.replace(b"header.npy", b"headxx.npy"),
]


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_file_is_named(damage: Any, run: Path) -> None:
    path = run / "scores/step-000003.npz"
    path.write_bytes(damage(path.read_bytes()))
    assert f"{path.name} is damaged" in refused("replay", run)


def test_the_file_of_another_step_is_damage(run: Path) -> None:
    (run / "scores/step-000001.npz").replace(run / "scores/step-000002.npz")
    assert "it is of step 1" in refused("replay", run, "--steps", "2")


def test_advice_of_too_few_groups_says_so(run: Path) -> None:
    found = called("advise", run, "--steps", "1-3", "--json", run / "a.json")
    assert found.exit_code == 0, found.output
    assert "none: 3 steps with 12 groups" in found.output
    assert json.loads((run / "a.json").read_text())["findings"][0]["topic"] == "nothing"


def test_advice_names_an_estimator_and_its_numbers(run: Path) -> None:
    found = called("advise", run)
    assert found.exit_code == 0, found.output
    assert "6 steps, 24 groups" in found.output
    assert "\ngrpo: scores of like scales" in found.output


def judged_again(run: Path, value: float) -> Path:
    """What `rvpo judge --json` would write of a judge that says the same of every criterion."""
    lines = []
    for row in samples_of(RunFolder(run), 1):
        cells = {
            name: {"score": value, "share": remark["share"]}
            for name, remark in row["remarks"].items()
        }
        lines.append({"prompt_id": row["prompt_id"], "completion": row["answer"], "cells": cells})
    path = run / "again.jsonl"
    path.write_text("".join(json.dumps(line) + "\n" for line in [*lines, {"summary": {}}]))
    return path


def test_scores_of_another_judge_take_the_place_of_those_that_trained(tmp_path: Path) -> None:
    run = tmp_path / "run"
    section, step = rubric("channels", fixed=False, spared=False)
    store(run, [step], rewards={"care": section}, judge=JUDGE)
    trained = read_scores(RunFolder(run), 1).advantages
    assert float(trained.abs().max()) > 0.1
    file = judged_again(run, 1.0)
    found = called("replay", run, "--judged", file, "--json", run / "r.json")
    assert found.exit_code == 0, found.output
    assert f"1 steps with the scores of {file}, against what trained" in found.output
    # A judge that says the same of all leaves nothing to learn.
    told = json.loads((run / "r.json").read_text())
    assert told["reproduced"] == pytest.approx(float(trained.abs().max()))


def test_judged_scores_that_belong_to_nothing_of_the_run_are_refused(run: Path) -> None:
    path = run / "again.jsonl"
    line = {"prompt_id": "p0", "completion": "x", "cells": {"vowel": {"score": 1, "share": 1}}}
    path.write_text(json.dumps(line) + "\n")
    assert "did you mean vowels?" in refused("replay", run, "--judged", path)
    path.write_text(json.dumps(line).replace("vowel", "vowels") + "\n")
    assert "holds the samples of no whole step" in refused("replay", run, "--judged", path)
    path.write_text('{"summary": {}}\n')
    assert "holds no scores" in refused("replay", run, "--judged", path)
    path.write_text("{")
    assert "is damaged" in refused("replay", run, "--judged", path)
    assert "cannot be read" in refused("replay", run, "--judged", run / "nowhere")


def test_a_matrix_is_stored_to_the_last_bit(tmp_path: Path) -> None:
    chance = torch.Generator().manual_seed(1)
    rewards = random_rewards(0, missing=0.3, reliability=torch.rand(2, generator=chance))
    store(tmp_path / "run", [scored(rewards)])
    found: Rewards = read_scores(RunFolder(tmp_path / "run"), 1).rewards
    for name in ("values", "valid", "weights", "reliability"):
        assert torch.equal(getattr(found, name), getattr(rewards, name)), name
    assert (found.names, found.prompts, found.satisfied, found.group_size) == (
        rewards.names,
        rewards.prompts,
        rewards.satisfied,
        rewards.group_size,
    )
