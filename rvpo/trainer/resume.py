"""Going back to a run: where it is, that it is the same one, and what it left to go on from."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from itertools import groupby
from pathlib import Path

from rvpo.config.diff import check_unchanged
from rvpo.config.run import RunConfig, load_config
from rvpo.errors import CheckpointError
from rvpo.report.best import read_best
from rvpo.report.gold import GoldScores
from rvpo.report.held_out import HeldOutScores
from rvpo.report.run_folder import RunFolder, steps_in
from rvpo.trainer.start import Start, read_starts


def at_home(config: RunConfig, file: Path, settings: Sequence[str]) -> RunConfig:
    """The settings of the run that `file` belongs to, wherever its folder has been moved.

    A run is where its own `config.yaml` lies, whatever that file says of `output`, unless one of
    the `settings` names another place.
    """
    home = RunFolder(file.parent)
    is_own = file.name == home.config.name and home.provenance.is_file()
    is_named = any(setting.partition("=")[0].strip() == "output" for setting in settings)
    if not is_own or is_named or _same(config.output, home.path):
        return config
    return config.model_copy(update={"output": home.path})


def open_run(config: RunConfig) -> tuple[RunFolder, tuple[Start, ...]]:
    """The folder of a run to go on with, and its starts so far.

    Raises:
        ConfigError: it holds no run, or one with other settings.
        CheckpointError: it has lost its checkpoints, may not be written, or holds a damaged file
            that would be missed after the training.
    """
    folder = RunFolder.open(config.output)
    check_unchanged(config, folder.config)
    if not os.access(folder.path, os.W_OK | os.X_OK):
        raise CheckpointError(
            f"{folder.path} may not be written; allow it, or copy the folder and resume the copy: "
            "--config COPY/config.yaml --resume"
        )
    _check_checkpoints(folder)
    read_best(folder)
    for step in folder.evaluated():
        HeldOutScores.read(folder.evaluation(step))
    for step in folder.watched():
        GoldScores.read(folder.gold_scores(step))
    return folder, read_starts(folder)


def rewind(folder: RunFolder, step: int, say: Callable[[str], None]) -> None:
    """Make the folder that of a run which has done `step` steps.

    A checkpoint is whole without the metrics of the steps before it, so that lost ones stop
    nothing: they are missing from the curves, and that is said.

    Raises:
        CheckpointError: `metrics.jsonl` cannot be read, or the disk is full.
    """
    lost = folder.rewind(step)
    if not lost:
        return
    kept = folder.damaged_metrics(step)
    before = f"; the file as it was is {kept.name}" if kept.exists() else ""
    say(
        f"{folder.metrics} held no metrics of {_steps(lost)}, which the curves will be without"
        f"{before}"
    )


def _check_checkpoints(folder: RunFolder) -> None:
    told = folder.steps_told()
    if any(path.is_dir() for path in steps_in(folder.checkpoints)):
        return
    stored = load_config(folder.config)
    every = stored.checkpoint.every
    done = stored.steps if folder.model.exists() else told
    # A run saves one at its end as well, before the model.
    if done > every or folder.model.exists():
        raise CheckpointError(
            f"{folder.path} tells of {done} steps and {folder.checkpoints} holds no checkpoint, of "
            f"which there was one every {every} and at the end; bring them back, or start a new "
            "run: output=runs/NAME"
        )


def _steps(numbers: Sequence[int]) -> str:
    """Words for steps, such as "step 2" and "steps 2 to 4, 7"."""
    runs = [
        [number for _, number in run]
        for _, run in groupby(enumerate(numbers), lambda pair: pair[1] - pair[0])
    ]
    spans = [str(run[0]) if len(run) == 1 else f"{run[0]} to {run[-1]}" for run in runs]
    return f"step{'s' if len(numbers) > 1 else ''} {', '.join(spans)}"


def _same(path: Path, other: Path) -> bool:
    return path.expanduser().resolve() == other.resolve()
