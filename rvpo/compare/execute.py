"""Training what is missing of a comparison, several runs at once where the machine allows."""

from __future__ import annotations

import os
import time
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from rvpo.compare.comparison import Comparison, Run
from rvpo.errors import USER_ERROR, CheckpointError
from rvpo.runtime.environment import LIFELINE, child_environment
from rvpo.runtime.process import FOREVER_S, Child, Log, end_all, python_module

POLL_S = 0.5


@dataclass(frozen=True)
class _Job:
    run: Run
    child: Child
    log: Log
    path: Path
    place: int


def train_missing(comparison: Comparison, jobs: int, console: Console) -> None:
    """Train every run that is not done, resuming those that were begun.

    Args:
        jobs: number of runs at once.

    Raises:
        CheckpointError: a run failed; the others that were under way are finished first.
        KeyboardInterrupt: a stop was asked for; the runs under way were asked to stop as well.
    """
    waiting = [run for run in comparison.runs if not run.is_done]
    total = sum(run.config.steps for run in comparison.runs)
    done = {run.folder.path: run.steps_done for run in comparison.runs}
    with _progress(console) as progress:
        bar = progress.add_task("", total=total)
        running: list[_Job] = []
        failed: _Job | None = None
        try:
            while running or (waiting and failed is None):
                while waiting and failed is None and len(running) < jobs:
                    running.append(_start(waiting.pop(0), jobs, {job.place for job in running}))
                time.sleep(POLL_S)
                done |= {job.run.folder.path: job.run.folder.count_metrics() for job in running}
                for job in [job for job in running if job.child.status() is not None]:
                    running.remove(job)
                    if job.child.status():
                        failed = failed or job
                    else:
                        progress.console.print(f"done   {job.run.folder.path}")
                names = ", ".join(f"{job.run.arm.name} {job.run.seed}" for job in running)
                progress.update(bar, completed=sum(done.values()), description=names or "finishing")
        finally:
            end_all([job.child for job in running], FOREVER_S)
    if failed is not None:
        raise CheckpointError(_told(failed))


def default_jobs(processes: int) -> int:
    """Runs that fit on this machine at once: one for each set of GPUs; on CPUs, one."""
    import torch

    return max(1, torch.cuda.device_count() // processes)


def _start(run: Run, jobs: int, taken: set[int]) -> _Job:
    place = next(n for n in range(jobs) if n not in taken)
    command = [*python_module("rvpo"), "train", "--config", str(run.file)]
    command += [*(["--resume"] if run.is_begun else []), "--", *run.settings]
    path = run.folder.path.with_suffix(".log")
    path.parent.mkdir(parents=True, exist_ok=True)
    log = Log(path.open("w+b"))
    environment = child_environment() | _share(run, jobs, place) | {LIFELINE: "stdin"}
    child = Child(command, log, stdout=log.file, environment=environment)
    return _Job(run, child, log, path, place)


def _share(run: Run, jobs: int, place: int) -> dict[str, str]:
    """The part of the machine that a run gets."""
    import torch

    processes, gpus = run.config.distributed.processes, torch.cuda.device_count()
    if gpus:
        seen = os.environ.get("CUDA_VISIBLE_DEVICES", ",".join(map(str, range(gpus)))).split(",")
        return {"CUDA_VISIBLE_DEVICES": ",".join(seen[place * processes : (place + 1) * processes])}
    if jobs == 1 or "OMP_NUM_THREADS" in os.environ:
        return {}
    return {"OMP_NUM_THREADS": str(max(1, len(os.sched_getaffinity(0)) // (jobs * processes)))}


def _told(job: _Job) -> str:
    lines = job.log.lines()
    if job.child.status() == USER_ERROR and lines:
        last = lines[-1].removeprefix("rvpo: ")
    else:
        last = job.child.last_words()
    return (
        f"{job.run.arm.name}, seed {job.run.seed}: {last} (all it said: {job.path}); mend that, "
        "then give the same command again, which does what is missing"
    )


def _progress(console: Console) -> Progress:
    return Progress(
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("steps"),
        TimeElapsedColumn(),
        console=console,
    )
