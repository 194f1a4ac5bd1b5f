"""A whole comparison from the command line, stopped in the middle and gone on with."""

from __future__ import annotations

import json
import os
import signal
import time
from collections.abc import Sequence
from pathlib import Path

import psutil
import pytest
import yaml

from rvpo.compare.comparison import Comparison
from rvpo.errors import ConfigError
from tests.commands.forked import ForkedRun, forker
from tests.commands.test_train import RANK_VARIABLES, count_steps
from tests.configs import tiny_settings

pytestmark = pytest.mark.slow

HELD_OUT = {"function": "tests.toy:letters", "arguments": {"count": 4}}
VARY = ("--vary", "advantage=gdpo,rvpo")


def write_config(model: Path, folder: Path) -> Path:
    settings = tiny_settings(
        model,
        folder / "unused",
        steps=3,
        data={
            "train": {"function": "tests.toy:letters", "arguments": {"count": 12}},
            "held_out": HELD_OUT,
        },
        evaluate={"samples_per_prompt": 2, "every": 2},
        checkpoint={"every": 1},
    )
    del settings["output"]
    path = folder / "config.yaml"
    path.write_text(yaml.safe_dump(settings))
    return path


def start(config: Path, output: Path, *arguments: str) -> ForkedRun:
    words = ["compare", "--config", str(config), "--seeds", "2", "--output", str(output)]
    kept = {name: value for name, value in os.environ.items() if name not in RANK_VARIABLES}
    return forker().start([*words, *arguments], Path.cwd(), kept)


def run(config: Path, output: Path, *arguments: str, code: int = 0) -> str:
    process = start(config, output, *arguments)
    said, _ = process.communicate(timeout=300)
    assert process.returncode == code, said
    return said


def modified(folders: Sequence[Path]) -> list[int]:
    return [(folder / "metrics.jsonl").stat().st_mtime_ns for folder in folders]


def test_an_interrupted_comparison_goes_on_with_what_is_missing(
    tiny_model: Path, tmp_path: Path
) -> None:
    config, output = write_config(tiny_model, tmp_path), tmp_path / "both"
    process = start(config, output, *VARY)
    first, second = output / "gdpo" / "seed-0", output / "rvpo" / "seed-0"
    while count_steps(second) < 1 and process.poll() is None:
        time.sleep(0.02)
    process.send_signal(signal.SIGINT)
    said, _ = process.communicate(timeout=120)
    assert process.returncode == 130, said
    assert "the same command goes on with what is missing" in said
    assert count_steps(first) == 3
    done = modified([first])

    said = run(config, output, *VARY)
    assert modified([first]) == done
    folders = [output / arm / f"seed-{seed}" for seed in range(2) for arm in ("gdpo", "rvpo")]
    assert [count_steps(folder) for folder in folders] == [3] * 4
    assert "began with different" not in said
    assert "paired t-test over seeds" in " ".join(said.split())
    verdict = json.loads((output / "verdict.json").read_text())
    metrics = {row["metric"] for row in verdict["rows"]}
    assert {"vowels", "late", "worst reward", "all satisfied"} <= metrics
    assert {row["stage"] for row in verdict["rows"]} == {"final", "peak"}
    for folder in folders:
        steps = sorted(path.stem for path in (folder / "held_out").iterdir())
        assert steps == ["step-000000", "step-000002", "step-000003"]

    before = modified(folders)
    run(config, output, *VARY)  # nothing is missing, so nothing is trained
    check_damage(config, output)
    assert modified(folders) == before
    check_refusals(config, output)


def test_runs_do_not_outlive_a_comparison_that_was_killed(tiny_model: Path, tmp_path: Path) -> None:
    config, output = write_config(tiny_model, tmp_path), tmp_path / "both"
    process = start(config, output, *VARY, "steps=500")
    while count_steps(output / "gdpo" / "seed-0") < 1 and process.poll() is None:
        time.sleep(0.02)
    runs = psutil.Process(process.pid).children()
    assert runs
    process.kill()
    process.communicate()
    _, alive = psutil.wait_procs(runs, timeout=60)
    assert not alive
    assert 0 < count_steps(output / "gdpo" / "seed-0") < 500


def test_a_run_that_was_killed_is_said_to_be_and_not_taken_at_its_last_word(
    tiny_model: Path, tmp_path: Path
) -> None:
    config, output = write_config(tiny_model, tmp_path), tmp_path / "both"
    process = start(config, output, *VARY, "steps=500")
    while count_steps(output / "gdpo" / "seed-0") < 1 and process.poll() is None:
        time.sleep(0.02)
    (run,) = psutil.Process(process.pid).children()
    run.kill()
    said, _ = process.communicate(timeout=120)
    assert process.returncode == 2, said
    assert "gdpo, seed 0: SIGKILL" in " ".join(said.split())


def check_damage(config: Path, output: Path) -> None:
    path = output / "gdpo/seed-0/held_out/step-000002.json"
    whole = path.read_text()
    path.write_text(whole[:50])
    said = " ".join(run(config, output, *VARY, code=2).split())
    assert "is damaged" in said
    assert "Traceback" not in said
    path.unlink()
    said = " ".join(run(config, output, *VARY, code=2).split())
    assert "step-000002.json is missing" in said
    path.write_text(whole)


def check_refusals(config: Path, output: Path) -> None:
    said = run(config, output, *VARY, "update.lr=1", code=2)
    assert "made with other settings in update.lr" in said
    said = run(config, output, *VARY, "--satisfied", "vowel=1", code=2)
    assert "there is no such reward" in said
    for threshold in ("vowels=nan", "vowels=high"):
        assert "cannot be read" in run(config, output, *VARY, "--satisfied", threshold, code=2)
    twice = ("--satisfied", "vowels=1", "--satisfied", "vowels=0")
    assert "given twice" in run(config, output, *VARY, *twice, code=2)
    said = run(config, output, *VARY, "--primary", "vowels/all", code=2)
    assert "there is no such metric" in said
    same = ("--vary", "advantage.k=1,1.0")
    assert "are the same run" in run(config, output.with_name("same"), *same, code=2)
    apart = ("--vary", "rewards.late.satisfied=1,2")
    said = run(config, output.with_name("apart"), *apart, code=2)
    assert "give it: --satisfied late=NUMBER" in said
    said = run(config, output, "--vary", "advantage=gdpo,rpvo", code=2)
    assert "did you mean 'rvpo'" in said
    assert "Traceback" not in said


def test_a_failing_run_ends_the_comparison_with_its_sentence(
    tiny_model: Path, tmp_path: Path
) -> None:
    config = write_config(tiny_model, tmp_path)
    broken = "rewards.x={function: 'tests.broken_rewards:raises'}"
    said = run(config, tmp_path / "both", *VARY, broken, code=2)
    words = " ".join(said.split())
    assert "gdpo, seed 0:" in words
    assert "ZeroDivisionError" in words
    assert "which does what is missing" in words


def test_arms_may_differ_in_what_varies_alone(tiny_model: Path, tmp_path: Path) -> None:
    config = write_config(tiny_model, tmp_path)
    found = Comparison.of(config, [], ["advantage=gdpo,rvpo"], 2, tmp_path / "both")
    assert [(run.arm.name, run.seed) for run in found.runs] == [
        ("gdpo", 0),
        ("rvpo", 0),
        ("gdpo", 1),
        ("rvpo", 1),
    ]
    assert {run.config.report.group for run in found.runs} == {"both"}
    with pytest.raises(ConfigError, match="steps"):
        Comparison.of(config, [], ["steps=0,3"], 2, tmp_path / "both")


def test_runs_that_a_rule_may_end_are_not_compared(tiny_model: Path, tmp_path: Path) -> None:
    judge = "{model: m, endpoints: [{url: 'http://127.0.0.1:9/v1'}]}"
    watched = (
        "rewards.kind={rubric: channels, criteria: {kind: It is kind.}}",
        f"judge={judge}",
        f"judges={{gold: {judge}}}",
        "evaluate.gold={judge: gold, every: 1, stop: {gap: 0.5, times: 1}}",
    )
    config = write_config(tiny_model, tmp_path)
    with pytest.raises(ConfigError, match=r"evaluate\.gold\.stop may end one run before others"):
        Comparison.of(config, watched, ["update.lr=1e-3,1e-4"], 2, tmp_path / "out")
    settings = (*watched, "evaluate.gold.stop=null")
    assert Comparison.of(config, settings, ["update.lr=1e-3,1e-4"], 2, tmp_path / "out").runs
