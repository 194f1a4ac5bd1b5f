"""Going back to a run: where it is, that it is the same one, and what it left to go on from."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

from rvpo.config.diff import check_unchanged
from rvpo.config.run import RunConfig, load_config
from rvpo.errors import CheckpointError
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
        CheckpointError: it has lost its checkpoints, may not be written, or is damaged.
    """
    folder = RunFolder.open(config.output)
    check_unchanged(config, folder.config)
    if not os.access(folder.path, os.W_OK | os.X_OK):
        raise CheckpointError(
            f"{folder.path} may not be written; allow it, or copy the folder and resume the copy: "
            "--config COPY/config.yaml --resume"
        )
    every = load_config(folder.config).checkpoint.every
    done = len(folder.read_metrics())
    if done > every and not any(path.is_dir() for path in steps_in(folder.checkpoints)):
        raise CheckpointError(
            f"{folder.path} tells of {done} steps and {folder.checkpoints} holds no checkpoint, of "
            f"which there was one every {every}; bring them back, or start a new run: "
            "output=runs/NAME"
        )
    return folder, read_starts(folder)


def _same(path: Path, other: Path) -> bool:
    return path.expanduser().resolve() == other.resolve()
