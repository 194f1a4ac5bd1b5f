"""What one card shows in ten minutes, in this order:

    python -m pytest -m gpu tests/gpu

A file of results says what was found; see `tests.gpu.results`.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
import yaml

from rvpo.runtime.environment import allocator_environment
from tests.commands.test_train import RANK_VARIABLES, count_steps, metrics
from tests.gpu.results import Results
from tests.processes import kill_all

pytestmark = pytest.mark.gpu

ROOT = Path(__file__).parents[2]
LONGEST_S = 400


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("gpu")


def environment(check: str = "") -> dict[str, str]:
    """That of a run in this process's place; of a check as `rvpo train` makes it for itself, where
    an engine takes turns with training."""
    found = {name: value for name, value in os.environ.items() if name not in RANK_VARIABLES}
    in_turn = check in ("in_process", "three_billion")
    return found | (allocator_environment(found) if in_turn else {})


def run(results: Results, check: str, *command: str) -> str:
    """What a program of its own prints; what it fails with is a row of the table."""
    done = subprocess.run(
        [sys.executable, *command],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=LONGEST_S,
        env=environment(check),
    )
    if done.returncode:
        results.add(check, f"failed with {done.returncode}: {done.stdout[-1500:]}")
        pytest.fail(f"{check}: exit status {done.returncode}\n{done.stdout[-6000:]}")
    return done.stdout


def checked(results: Results, folder: Path, name: str) -> dict[str, Any]:
    """What `tests.gpu.checks` finds, with the seconds that it took as a row of the table."""
    started = time.monotonic()
    run(results, name, "-m", "tests.gpu.checks", name, str(folder))
    results.add(name, f"done in {time.monotonic() - started:.0f} s")
    found: dict[str, Any] = json.loads((folder / f"{name}.json").read_text())
    return found


def agrees(results: Results, check: str, versions: list[dict[str, Any]]) -> None:
    """Engine and trainer agree on each version of the weights, and versions differ."""
    for number, found in enumerate(versions):
        results.add(
            f"{check}: log-probabilities of engine and trainer, version {number}",
            f"mean difference {found['mean']:.2e}, largest {found['max']:.2e}",
            "mean below 0.1, by rounding to bf16",
        )
        assert found["versions"] == [number]
    assert all(found["mean"] < 0.1 for found in versions)
    assert len({found["text"] for found in versions}) > 1


def test_a_run_can_start_here(results: Results) -> None:
    report = run(results, "doctor", "-m", "rvpo", "doctor")
    results.add_all("doctor", {"says": report.splitlines()[-1]})
    assert report.splitlines()[-1] == "A run can start."


def test_an_engine_in_process_agrees_sleeps_and_repeats(results: Results, folder: Path) -> None:
    found = checked(results, folder, "in_process")
    versions = found["versions"]
    agrees(results, "in process", versions)
    for part in ("load", "awake", "resting", "update"):
        sizes = ", ".join(f"{each[part]:.1f}" for each in versions)
        results.add(f"in process: {part}", f"{sizes} GiB of {found['total']:.1f}")
    results.add(
        "in process: before and after its start",
        f"{found['before']:.1f} and {found['started']:.1f} GiB",
    )
    given_up = versions[-1]["awake"] - versions[-1]["resting"]
    share = 0.3 * found["total"]
    results.add("in process: given up asleep", f"{given_up:.1f} GiB", f"most of {share:.1f}")
    assert given_up > 0.7 * share
    assert found["repeats"], "one seed gave other samples"
    assert found["varies"], "another seed gave the same samples"
    results.add("in process: seeds", "equal for an equal one, others for another")


def test_attention_takes_fast_kernels_and_makes_no_scores(results: Results, folder: Path) -> None:
    found = checked(results, folder, "attention")
    results.add("attention: kernels", ", ".join(found["kernels"]), "flash")
    results.add("attention: gradient", f"{found['gradient']:.1e} off fp32 math", "below 0.03")
    scores = f"{found['scores']:.1f} GiB of scores would be"
    results.add("attention: memory of a long row", f"{found['rise']:.2f} GiB", scores)
    assert any("flash" in name.lower() for name in found["kernels"])
    assert not any("cudnn" in name.lower() for name in found["kernels"])
    assert found["gradient"] < 0.03
    assert found["rise"] < 0.5 * found["scores"]


def test_an_engine_beside_the_trainer_gets_its_weights_by_ipc(
    results: Results, folder: Path
) -> None:
    agrees(results, "ipc", checked(results, folder, "ipc")["versions"])


def settings(results: Results, folder: Path, name: str, **changes: Any) -> Path:
    """A shipped run, shortened."""
    config = yaml.safe_load((ROOT / "experiments" / f"{name}.yaml").read_text())
    config |= {"output": str(folder / name), "report": {"trackers": []}, **changes}
    config["data"].pop("held_out")
    path = folder / f"{name}.yaml"
    path.write_text(yaml.safe_dump(config))
    return path


def said_of(results: Results, name: str, rows: list[dict[str, float]]) -> None:
    """The seconds and the memory of the last step."""
    for key, value in rows[-1].items():
        if key.startswith(("timing/", "memory/", "tokens_per_s", "sampling/sampling_logp")):
            results.add(f"{name}: {key}", f"{value:.4g}")


def rows_of(run_folder: Path) -> list[dict[str, float]]:
    lines = (run_folder / "metrics.jsonl").read_text().splitlines()
    return [json.loads(line) for line in lines]


def test_the_quickstart_runs_is_killed_and_goes_on(results: Results, folder: Path) -> None:
    config = settings(results, folder, "quickstart", steps=5, checkpoint={"every": 1})
    output = folder / "quickstart"
    command = [sys.executable, "-m", "rvpo", "train", "--config", str(config)]
    with subprocess.Popen(
        command, cwd=ROOT, env=environment(), stdout=subprocess.DEVNULL
    ) as process:
        until = time.monotonic() + LONGEST_S
        while count_steps(output) < 2 and process.poll() is None and time.monotonic() < until:
            time.sleep(0.05)
        done = count_steps(output)
        kill_all(process.pid)
    run(results, "quickstart", "-m", "rvpo", "train", "--config", str(config), "--resume")
    steps = [row["step"] for row in metrics(output)]
    results.add("quickstart: killed and resumed", f"after step {done}, then to {steps[-1]}")
    said_of(results, "quickstart", rows_of(output))
    assert done >= 2
    assert steps == [1, 2, 3, 4, 5]


def test_a_judge_is_served_on_the_card_that_trains(results: Results, folder: Path) -> None:
    config = settings(results, folder, "quickstart_judge", steps=2)
    started = time.monotonic()
    run(results, "quickstart_judge", "-m", "rvpo", "train", "--config", str(config))
    rows = rows_of(folder / "quickstart_judge")
    results.add("quickstart_judge", f"{len(rows)} steps in {time.monotonic() - started:.0f} s")
    said_of(results, "quickstart_judge", rows)
    missing = [value for row in rows for key, value in row.items() if key.endswith("failed_frac")]
    assert missing
    assert max(missing) < 0.1


def test_three_billion_parameters_take_what_is_planned(results: Results, folder: Path) -> None:
    checked(results, folder, "save_3b")
    found = checked(results, folder, "three_billion")
    planned = found["planned"]
    results.add_all("3B: plan", planned["said"])
    if not planned["fits"]:
        pytest.skip("rvpo plan says that 3B does not fit on this card")
    agrees(results, "3B", found["versions"])
    update = max(each["update"] for each in found["versions"])
    rollout = max(each["awake"] for each in found["versions"])
    results.add("3B: update peak", f"{update:.1f} GiB", f"at most {planned['update']:.1f}")
    results.add("3B: rollout peak", f"{rollout:.1f} GiB", f"at most {planned['rollout']:.1f}")
    for part in ("load", "resting"):
        sizes = ", ".join(f"{each[part]:.1f}" for each in found["versions"])
        results.add(f"3B: {part}", f"{sizes} GiB")
    results.add("3B: KV cache", f"{found['kv_tokens']:,} tokens", f"{planned['kv_tokens']:,}")
    assert update <= 1.03 * planned["update"]
    assert rollout <= 1.03 * planned["rollout"]
    assert abs(found["kv_tokens"] / planned["kv_tokens"] - 1) < 0.1
