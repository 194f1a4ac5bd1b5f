"""The quickstart's closing table for GRPO, GDPO and RVPO over several seeds.

    python -m performance.quickstart --seeds 3 --runs runs/seeds

Trains each algorithm with each seed, one run after the other, skips runs that are finished and
goes on with those that are not. Prints one table, with --save also written to performance/results/.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

from performance.published import add_save_option, publish

ROOT = Path(__file__).resolve().parent.parent
ALGORITHMS = {
    "GRPO": "quickstart_grpo.yaml",
    "GDPO": "quickstart_gdpo.yaml",
    "RVPO": "quickstart.yaml",
}


def train(config: Path, run: Path, seed: int) -> None:
    command = [sys.executable, "-m", "rvpo", "train", "--config", str(config)]
    resume = ["--resume"] if (run / "config.yaml").exists() else []
    subprocess.run([*command, *resume, f"output={run}", f"seed={seed}"], check=True)


def step_times(run: Path) -> list[float]:
    return [json.loads(line)["timing/step"] for line in (run / "metrics.jsonl").open()]


def row(algorithm: str, seed: int, run: Path) -> str:
    rewards: dict[str, Any] = json.loads((run / "held_out.json").read_text())["rewards"]
    cells = [
        f"{r['before']:.2f} → {r['after']:.2f} (p = {r['p_value']:.2g})" for r in rewards.values()
    ]
    times = sorted(step_times(run))
    return f"| {algorithm} | {seed} | {' | '.join(cells)} | {times[len(times) // 2]:.1f} s |"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--runs", type=Path, default=ROOT / "runs" / "seeds")
    add_save_option(parser)
    arguments = parser.parse_args()
    lines = []
    for seed in range(arguments.seeds):
        for algorithm, file in ALGORITHMS.items():
            run = arguments.runs / f"{algorithm.lower()}-{seed}"
            if not (run / "held_out.json").exists():
                train(ROOT / "experiments" / file, run, seed)
            lines.append(row(algorithm, seed, run))
    lines.sort(key=lambda line: list(ALGORITHMS).index(line.split("|")[1].strip()))
    names = list(json.loads((run / "held_out.json").read_text())["rewards"])
    header = f"| algorithm | seed | {' | '.join(names)} | median step |"
    table = "\n".join([header, "|" + " --- |" * (len(names) + 3), *lines])
    publish("quickstart.md", table, arguments)


if __name__ == "__main__":
    main()
