"""Train what PROTOCOL.md says and is not done, and keep a line of each run in runs.jsonl.

    python -m experiments.constraint_neglect.run --tune --jobs 2     # learning rates: 27 runs
    python -m experiments.constraint_neglect.run --seeds 10 --jobs 2   # all the rest, seed by seed

A run takes half a minute on a core. It is `rvpo train` in a process that has imported everything
already; its folder is deleted once its line is written.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import shutil
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import asdict, dataclass
from multiprocessing import get_context
from pathlib import Path
from statistics import fmean

import numpy as np

from experiments.constraint_neglect import design
from rvpo.report.held_out import HeldOutScores
from rvpo.report.run_folder import RunFolder

HERE = Path(__file__).parent
FILE = HERE / "runs.jsonl"
RUNS = Path("runs/constraint_neglect/protocol")
POLICIES = HERE / "policies"
"""Initial policies, by the share of sealed answers: warm-started on one machine, for another rounds
otherwise and makes others."""
FIRST = 10
"""Steps whose pulls are kept, as a mean."""


@dataclass(frozen=True)
class Line:
    """What is kept of a run."""

    task: str
    arm: str
    rate: float
    seed: int
    steps: list[int]
    satisfied: list[float]
    """Share of held-out responses with all rewards satisfied, by step."""
    met: dict[str, list[float]]
    """Share that satisfies each reward, by step."""
    mean: dict[str, list[float]]
    pull: dict[str, float]

    @property
    def key(self) -> tuple[str, str, float, int]:
        return self.task, self.arm, self.rate, self.seed

    @property
    def area(self) -> float:
        """The area under the curve of all satisfied, divided by the steps."""
        return float(np.trapezoid(self.satisfied, self.steps)) / self.steps[-1]


def read(file: Path = FILE) -> list[Line]:
    if not file.exists():
        return []
    return [Line(**json.loads(text)) for text in file.read_text(encoding="utf-8").splitlines()]


def rates(lines: Sequence[Line]) -> dict[str, float]:
    """The learning rate of each arm whose tuning is done."""
    found: dict[str, float] = {}
    for arm in design.ARMS:
        tuned = [x for x in lines if x.arm == arm and x.seed == design.TUNING_SEED]
        if len(tuned) < len(design.RATES) * len(design.TUNED_ON):
            continue
        areas = {rate: fmean(x.area for x in tuned if x.rate == rate) for rate in design.RATES}
        found[arm] = max(areas, key=areas.__getitem__)
    return found


def train(task: str, arm: str, rate: float, seed: int) -> Line:
    """One run, in this process."""
    folder = RunFolder(RUNS / f"{task}-{arm}-{rate:g}-{seed}")
    shutil.rmtree(folder.path, ignore_errors=True)
    RUNS.mkdir(parents=True, exist_ok=True)
    settings = {
        "output": str(folder.path),
        "seed": seed,
        "steps": design.STEPS,
        "model.path": str(POLICIES / str(design.TASKS[task].sealed)),
        "rewards": design.TASKS[task].rewards,
        "advantage": design.ARMS[arm],
        "update.lr": rate,
        "evaluate.every": design.EVERY,
        "checkpoint": {"every": design.STEPS, "keep": 1},
        "report.samples": {"keep": 1},
    }
    words = [f"{name}={json.dumps(value)}" for name, value in settings.items()]
    with folder.path.with_suffix(".log").open("w") as log:
        for stream in (1, 2):
            os.dup2(log.fileno(), stream)
        from rvpo.cli import app

        app(["train", "--config", str(HERE / "main.yaml"), *words], standalone_mode=False)
    line = _line(task, arm, rate, seed, folder)
    shutil.rmtree(folder.path)
    return line


def _line(task: str, arm: str, rate: float, seed: int, folder: RunFolder) -> Line:
    steps = folder.evaluated()
    every = [HeldOutScores.read(folder.evaluation(step)) for step in steps]
    rewards = design.TASKS[task].rewards
    met, mean = {}, {}
    for name, reward in rewards.items():
        scores = [e.values[:, :, e.columns.index(name)] for e in every]
        met[name] = [float((x >= reward.get("satisfied", 1)).mean()) for x in scores]
        mean[name] = [float(x.mean()) for x in scores]
    first = folder.read_metrics()[:FIRST]
    pull = {n: fmean(row.get(f"advantage/pull/{n}", math.nan) for row in first) for n in rewards}
    earned = design.TASKS[task].earned
    satisfied = [
        np.all(
            [e.values[:, :, e.columns.index(n)] >= rewards[n].get("satisfied", 1) for n in earned],
            axis=0,
        )
        for e in every
    ]
    return Line(
        task=task,
        arm=arm,
        rate=rate,
        seed=seed,
        steps=list(steps),
        satisfied=[float(x.mean()) for x in satisfied],
        met=met,
        mean=mean,
        pull=pull,
    )


def wanted(
    tune: bool, seeds: int, arms: Sequence[str], lines: Sequence[Line]
) -> Iterator[tuple[str, str, float, int]]:
    """The runs in their order, done or not."""
    if tune:
        for task in design.TUNED_ON:
            for arm in arms:
                yield from ((task, arm, rate, design.TUNING_SEED) for rate in design.RATES)
        return
    chosen = rates(lines)
    if lacking := [arm for arm in arms if arm not in chosen]:
        raise SystemExit(f"no learning rate for {', '.join(lacking)}; run with --tune first")
    for seed in design.SEEDS[:seeds]:
        for task in design.TASKS:
            yield from ((task, arm, chosen[arm], seed) for arm in arms)


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--tune", action="store_true", help="choose learning rates")
    parser.add_argument("--seeds", type=int, default=len(design.SEEDS))
    parser.add_argument("--arms", nargs="+", choices=design.ARMS, default=list(design.ARMS))
    parser.add_argument("--jobs", type=int, default=1)
    options = parser.parse_args()
    lines = read()
    done = {line.key for line in lines}
    missing = [x for x in wanted(options.tune, options.seeds, options.arms, lines) if x not in done]
    context = get_context("forkserver")
    context.set_forkserver_preload(["rvpo.commands.train", "deepspeed", "transformers"])
    with (
        ProcessPoolExecutor(options.jobs, context, max_tasks_per_child=1) as pool,
        FILE.open("a", encoding="utf-8") as file,
    ):
        waiting = [pool.submit(train, *each) for each in missing]
        for count, future in enumerate(as_completed(waiting), start=1):
            line = future.result()
            file.write(json.dumps(asdict(line)) + "\n")
            file.flush()
            print(f"{count} of {len(missing)}: {line.key} area {line.area:.3f}", flush=True)


if __name__ == "__main__":
    main()
