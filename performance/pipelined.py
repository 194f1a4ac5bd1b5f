"""Rollouts in turn with training and one step ahead of it, with a judge that takes two seconds.

    python -m performance.pipelined --save

`experiments/quickstart_judge.yaml` with another judge: a loopback server that answers every call
after 2 s, truly, whether a response has an exclamation mark. Each seed trains twice, with
`rollout.staleness` 0 and 1. Prints steps a minute (60 s over the median step without the first),
and how far the rewards' training curves are apart: means over all weights that both sampled with,
paired by seed, with the t-interval and p-value of a paired t-test. (By step they are apart by the
step that a rollout is older.) Runs that are complete are not repeated.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import subprocess
import sys
from pathlib import Path
from statistics import fmean, median
from typing import Any

from scipy import stats

from performance.judge_process import serve, served
from performance.published import add_save_option, publish
from tests.judge.server import FakeEndpoint

ROOT = Path(__file__).resolve().parent.parent
LATENCY_S = 2.0
NAMES = {0: "in turn", 1: "one step ahead"}


def endpoint() -> FakeEndpoint:
    return FakeEndpoint(latency_s=LATENCY_S, truth=lambda text: "!" in text, keep_bodies=False)


def train(run: Path, url: str, seed: int, staleness: int, steps: int) -> None:
    service = {"model": "judge", "endpoints": [{"url": url, "concurrency": 512}], "cache": None}
    settings = {
        "output": str(run),
        "seed": seed,
        "steps": steps,
        "rollout.staleness": staleness,
        "judge": service | {"reasons": False},
        "rewards.judged.criteria": {"lively": "The response has an exclamation mark."},
        "data.held_out": None,
        "checkpoint.every": steps,
        "report.wandb": False,
    }
    command = [sys.executable, "-m", "rvpo", "train"]
    command += ["--config", str(ROOT / "experiments" / "quickstart_judge.yaml")]
    command += [f"{name}={json.dumps(value)}" for name, value in settings.items()]
    subprocess.run(command, check=True)


def read(run: Path) -> list[dict[str, Any]]:
    path = run / "metrics.jsonl"
    return [json.loads(line) for line in path.open()] if path.exists() else []


def steps_a_minute(rows: list[dict[str, Any]]) -> float:
    return 60 / median(row["timing/step"] for row in rows[1:])


def by_weights(rows: list[dict[str, Any]], metric: str) -> dict[int, float]:
    """The metric of the newest samples that each version of the weights made."""
    return {round(row["step"] - 1 - row["policy/staleness_mean"]): row[metric] for row in rows}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--steps", type=int, default=16)
    parser.add_argument("--runs", type=Path, default=ROOT / "runs" / "pipelined")
    parser.add_argument("--part", choices=("server",), help=argparse.SUPPRESS)
    add_save_option(parser)
    options = parser.parse_args()
    if options.part:
        asyncio.run(serve(endpoint()))
        return
    curves: dict[int, list[list[dict[str, Any]]]] = {staleness: [] for staleness in NAMES}
    with served("performance.pipelined") as url:
        for seed in range(options.seeds):
            for staleness in NAMES:
                run = options.runs / f"{staleness}-{seed}"
                if len(read(run)) < options.steps:
                    train(run, url, seed, staleness, options.steps)
                curves[staleness].append(read(run))
    publish("pipelined.md", table(curves), options)


def table(curves: dict[int, list[list[dict[str, Any]]]]) -> str:
    lines = ["| rollouts | seed | steps a minute | lively | brief |", "|" + " --- |" * 5]
    rewards = {"lively": "rewards/judged/lively/mean", "brief": "rewards/brief/mean"}
    for staleness, name in NAMES.items():
        for seed, rows in enumerate(curves[staleness]):
            means = [f"{fmean(row[key] for row in rows):.3f}" for key in rewards.values()]
            lines.append(f"| {name} | {seed} | {steps_a_minute(rows):.1f} | {' | '.join(means)} |")
    rates = {s: median(steps_a_minute(rows) for rows in curves[s]) for s in NAMES}
    lines.append("")
    lines.append(
        f"Median of the seeds: {rates[1]:.1f} steps a minute one step ahead, {rates[0]:.1f} in "
        f"turn, {rates[1] / rates[0]:.2f} times as many."
    )
    for name, key in rewards.items():
        found = {s: [by_weights(rows, key) for rows in curves[s]] for s in NAMES}
        shared = sorted(set.intersection(*(set(c) for each in found.values() for c in each)))
        first, second = ([fmean(c[v] for v in shared) for c in found[s]] for s in NAMES)
        test = stats.ttest_rel(second, first)
        low, high = test.confidence_interval()
        lines.append(
            f"{name}: {fmean(second) - fmean(first):+.3f} one step ahead (95 % interval "
            f"{low:+.3f} to {high:+.3f}, paired t-test over {len(first)} seeds p = "
            f"{test.pvalue:.2f})."
        )
    return "\n".join(lines)


if __name__ == "__main__":
    main()
