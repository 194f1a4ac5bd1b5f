"""The start of `rvpo train` and `rvpo evaluate`: in this process, or in ranks that it launches."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from pathlib import Path

from rvpo.commands.farewell import farewell_before_ranks
from rvpo.runtime.environment import LIFELINE, allocator_environment, is_rank
from rvpo.runtime.extras import require
from rvpo.runtime.launch import launch
from rvpo.runtime.logging import quiet_libraries
from rvpo.runtime.process import end_with_parent
from rvpo.runtime.signals import importing


def train(file: Path, settings: Sequence[str], resume: bool, if_any: bool = False) -> int:
    """Train what a file describes.

    Args:
        settings: those that replace what the file says, as `section.key=value`.
        resume: go on from the newest checkpoint of the run folder.
        if_any: the same where there is a run, else begin one.

    Returns:
        The exit status.

    Raises:
        RvpoError: see `rvpo.commands.train.run`.
    """
    with farewell_before_ranks():
        _begin()
        from rvpo.commands.needs import of_training
        from rvpo.config.run import load_config
        from rvpo.report.run_folder import RunFolder

        config = load_config(file, settings)
        require("rvpo train", *of_training(config))
        if resume or if_any:
            from rvpo.trainer.resume import at_home

            config = at_home(config, file, list(settings))
            resume = resume or RunFolder(config.output).config.exists()
    processes = config.distributed.processes
    # An engine's process must not hear the terminal's Ctrl-C, nor outlive a killed trainer.
    apart = processes > 1 or config.rollout.staleness > 0
    if apart and not is_rank():
        # "--" keeps a setting that starts with a dash from being read as an option.
        again = ["train", "--config", str(file), *(["--resume"] if resume else []), "--", *settings]
        return launch(again, processes)

    with farewell_before_ranks(config.output if resume else None):
        if config.rollout.engine.takes_turns(on_gpu=True, concurrent=config.rollout.staleness > 0):
            os.environ.update(allocator_environment(os.environ))
        from rvpo.commands.train import run
    run(config, resume)
    return 0


def evaluate(
    file: Path | None,
    settings: Sequence[str],
    benchmarks: Sequence[str],
    models: Sequence[str],
) -> int:
    """Evaluate models, or do what is missing of it.

    Args:
        file: an evaluation's or a run's; none if the benchmarks need no settings.
        benchmarks: names; all that the file has settings for if none is named.
        models: folders, Hub ids or runs; the file's own if none is named.

    Returns:
        The exit status.

    Raises:
        RvpoError: see `rvpo.commands.evaluate.evaluate`.
    """
    with importing():
        _begin()
        from rvpo.commands.needs import of_evaluation
        from rvpo.config.evaluation import load_evaluation

    found = load_evaluation(file, list(benchmarks), next(iter(models), None), list(settings))
    require("rvpo evaluate", *of_evaluation(found))
    if found.distributed.processes > 1 and not is_rank():
        return launch(sys.argv[1:], found.distributed.processes)

    with importing():
        from rvpo.commands.evaluate import evaluate as run

    run(found, list(models) or [found.model.path])
    return 0


def _begin() -> None:
    if LIFELINE in os.environ:
        end_with_parent()
    quiet_libraries()
