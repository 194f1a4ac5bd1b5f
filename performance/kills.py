"""Kill a run whose rollouts are made one step ahead, again and again, and count what it trained on.

    python -m performance.kills --kills 50 --save

A tiny model, vLLM in a process of its own, a checkpoint each step. One run is left alone; the other
is ended by SIGKILL, with all its processes, at random moments of its start and of its steps, and
resumed after each. Every resume must get further, and in the end both must have trained on the same
prompts in the same steps: the number of samples of each prompt, by step, is compared.
"""

from __future__ import annotations

import argparse
import json
import random
import shutil
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path
from statistics import median

import yaml

from performance.published import add_save_option, publish
from tests.configs import tiny_settings
from tests.processes import kill_all
from tests.tiny import save_tiny_model

ROOT = Path(__file__).resolve().parent.parent
DURING_START = 0.2
"""The share of the kills that strike before the resumed run has done a step."""


def write_config(model: Path, folder: Path, steps: int) -> Path:
    folder.mkdir(parents=True)
    settings = tiny_settings(
        model,
        folder / "run",
        steps=steps,
        data={"train": {"function": "tests.toy:letters", "arguments": {"count": 50}}},
        rollout={"engine": {"name": "vllm", "max_context_tokens": 128}, "staleness": 1},
        checkpoint={"every": 1},
    )
    path = folder / "config.yaml"
    path.write_text(yaml.safe_dump(settings))
    return path


def start(config: Path) -> subprocess.Popen[bytes]:
    resume = ["--resume"] if (config.parent / "run" / "config.yaml").exists() else []
    return subprocess.Popen(
        [sys.executable, "-m", "rvpo", "train", "--config", str(config), *resume],
        cwd=ROOT,
        stdout=(config.parent / "log").open("ab"),
        stderr=subprocess.STDOUT,
        start_new_session=True,
    )


def count_steps(config: Path) -> int:
    path = config.parent / "run" / "metrics.jsonl"
    return path.read_bytes().count(b"\n") if path.exists() else 0


def trained(config: Path) -> Counter[tuple[int, str]]:
    """Samples of each step and prompt."""
    files = sorted((config.parent / "run" / "samples").iterdir())
    rows = [json.loads(line) for file in files for line in file.read_text().splitlines()]
    return Counter((row["step"], row["prompt_id"]) for row in rows)


def kill(config: Path, chance: random.Random) -> tuple[str, float]:
    """Start or resume, and kill; what was struck, and after how long."""
    before, started = count_steps(config), time.monotonic()
    process = start(config)
    if chance.random() < DURING_START:
        target, moment = "start", chance.uniform(0.5, 25)
        while time.monotonic() - started < moment and process.poll() is None:
            time.sleep(0.01)
    else:
        target = "steps"
        while count_steps(config) <= before and process.poll() is None:
            time.sleep(0.01)
        time.sleep(chance.uniform(0, 1.5))
    if process.poll() is not None:
        raise SystemExit(f"the run ended by itself, {process.returncode}: see {config.parent}/log")
    kill_all(process.pid)
    process.wait()
    return target, time.monotonic() - started


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--kills", type=int, default=50)
    parser.add_argument("--steps", type=int, default=400)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--runs", type=Path, default=ROOT / "runs" / "kills")
    add_save_option(parser)
    options = parser.parse_args()
    shutil.rmtree(options.runs, ignore_errors=True)
    model = save_tiny_model(options.runs / "model")
    whole = write_config(model, options.runs / "whole", options.steps)
    if start(whole).wait():
        raise SystemExit(f"the run left alone failed: see {whole.parent}/log")
    config = write_config(model, options.runs / "killed", options.steps)
    chance = random.Random(options.seed)
    struck: Counter[str] = Counter()
    times = []
    for number in range(options.kills):
        target, seconds = kill(config, chance)
        struck[target] += 1
        times.append(seconds)
        print(
            f"kill {number + 1}: {target}, {seconds:.0f} s, step {count_steps(config)}", flush=True
        )
    if start(config).wait():
        raise SystemExit(f"the last resume failed: see {config.parent}/log")
    expected, found = trained(whole), trained(config)
    lines = [
        "| kills | while starting | while training | steps | samples | differences |",
        "|" + " --- |" * 6,
        f"| {options.kills} | {struck['start']} | {struck['steps']} | {count_steps(config)} | "
        f"{found.total():,} | {((found - expected) + (expected - found)).total()} |",
        "",
        "Every resume got further. Differences: samples of a prompt in a step that one run has and "
        f"the other has not. Median {median(times):.0f} s from start to kill.",
    ]
    publish("kills.md", "\n".join(lines), options)
    raise SystemExit(int(found != expected))


if __name__ == "__main__":
    main()
