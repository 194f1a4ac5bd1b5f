"""The quickstart with LoRA beside the quickstart that trains all weights: what is learned, and at
what cost.

    python -m performance.lora_cost --seeds 2 --runs runs/lora

Trains adapters, which reach vLLM as they are or merged, and all weights, in turn with each seed;
then adapters in fp32 for four steps. A run that is finished is not repeated. Prints the closing
tables, and of each run the median step with its phases, the processor time of all of it, the peak
of resident memory of the process in which policy and vLLM work, the bytes of its last checkpoint,
and how far engine and trainer were apart: over all samples, the largest difference of a token's two
log-probabilities.

With --steps runs are as short as that, without held-out prompts and the first of the two tables;
with --save the tables are also written to performance/results/.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

from performance.published import add_save_option, publish

ROOT = Path(__file__).resolve().parent.parent


@dataclass(frozen=True)
class Case:
    """A file to train with, and what is set beside it."""

    name: str
    file: str
    settings: tuple[str, ...] = ()


FULL = Case("all weights", "quickstart.yaml")
LORA = Case("LoRA", "quickstart_lora.yaml", ("model.lora.sync=adapter",))
MERGED = Case("LoRA, merged", "quickstart_lora.yaml", ("model.lora.sync=merged",))
SHORT = ("data.held_out=null", "checkpoint.every=1000")
FP32 = Case("LoRA, fp32", LORA.file, (*LORA.settings, "model.precision=fp32", "steps=4", *SHORT))


@dataclass(frozen=True)
class Run:
    """A run's folder, and what its process took, beside it once it is finished."""

    folder: Path

    @property
    def _taken(self) -> Path:
        return self.folder.with_suffix(".json")

    @property
    def finished(self) -> bool:
        return self._taken.exists()

    @property
    def taken(self) -> dict[str, float]:
        """`peak`, in GiB, and `cpu`, in seconds."""
        found: dict[str, float] = json.loads(self._taken.read_text())
        return found

    @property
    def steps(self) -> list[dict[str, float]]:
        return [json.loads(line) for line in (self.folder / "metrics.jsonl").open()]

    @property
    def checkpoint(self) -> int:
        """Bytes of the last one."""
        last = max((self.folder / "checkpoints").iterdir())
        return sum(path.stat().st_size for path in last.rglob("*") if path.is_file())

    @property
    def rewards(self) -> dict[str, dict[str, Any]]:
        """Empty without held-out prompts."""
        path = self.folder / "held_out.json"
        found: dict[str, dict[str, Any]] = {}
        return json.loads(path.read_text())["rewards"] if path.exists() else found

    def train(self, case: Case, settings: Sequence[str]) -> None:
        command = [sys.executable, "-m", "rvpo", "train"]
        command += ["--config", str(ROOT / "experiments" / case.file), f"output={self.folder}"]
        child = subprocess.Popen([*command, *case.settings, *settings])
        _, status, usage = os.wait4(child.pid, 0)  # with the processes that the child waited for
        child.returncode = os.waitstatus_to_exitcode(status)
        if child.returncode:
            raise SystemExit(f"{self.folder}: training ended with {child.returncode}")
        taken = {"peak": usage.ru_maxrss / 2**20, "cpu": usage.ru_utime + usage.ru_stime}
        self._taken.write_text(json.dumps(taken))


def learned(case: Case, seed: int, run: Run) -> str:
    cells = [
        f"{r['before']:.2f} → {r['after']:.2f} (p = {r['p_value']:.2g})"
        for r in run.rewards.values()
    ]
    return f"| {case.name} | {seed} | {' | '.join(cells)} |"


def cost(case: Case, seed: int, run: Run) -> str:
    phases = ("step", "generate", "update", "sync")
    times = [median(step[f"timing/{phase}"] for step in run.steps) for phase in phases]
    apart = max(step["sampling/sampling_logp_difference/max"] for step in run.steps)
    cells = [f"{seconds:.1f} s" for seconds in times]
    cells += [f"{run.taken['cpu']:.0f} s", f"{run.taken['peak']:.2f} GiB"]
    cells += [f"{run.checkpoint / 1e6:.0f} MB", f"{apart:.1e}"]
    return f"| {case.name} | {seed} | {' | '.join(cells)} |"


def table(names: Sequence[str], rows: Sequence[str]) -> list[str]:
    return [f"| {' | '.join(names)} |", "|" + " --- |" * len(names), *sorted(rows)]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("--seeds", type=int, default=1)
    parser.add_argument("--steps", type=int, help="fewer than in the files")
    parser.add_argument("--runs", type=Path, default=ROOT / "runs" / "lora")
    add_save_option(parser)
    options = parser.parse_args()
    settings = [] if options.steps is None else [f"steps={options.steps}", *SHORT]
    cases = (LORA, MERGED, FULL)
    work = [(case, seed, settings) for seed in range(options.seeds) for case in cases]
    rewards: list[str] = []
    costs: list[str] = []
    names: list[str] = []
    for case, seed, given in [*work, (FP32, 0, [])]:
        run = Run(options.runs / f"{'-'.join(re.findall('[a-z0-9]+', case.name.lower()))}-{seed}")
        if not run.finished:
            run.train(case, [f"seed={seed}", *given])
        costs.append(cost(case, seed, run))
        if run.rewards:
            names = list(run.rewards)
            rewards.append(learned(case, seed, run))
    figures = ("median step", "generate", "update", "sync", "processor time", "peak memory")
    lines = table(("trained", "seed", *figures, "checkpoint", "apart"), costs)
    if rewards:
        lines = [*table(("trained", "seed", *names), rewards), "", *lines]
    publish("lora.md", "\n".join(lines), options)


if __name__ == "__main__":
    main()
