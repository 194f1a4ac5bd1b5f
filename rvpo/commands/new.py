"""`rvpo new`: a run to start from, in a folder of its own."""

from __future__ import annotations

import shlex
from importlib import resources
from pathlib import Path

from rvpo.errors import ConfigError, nearest
from rvpo.report.run_folder import write_text

TEMPLATES = ("quickstart", "judge", "conversation", "toolrl", "healthbench")
"""Runs to start from. Each has a `NAME.yaml` beside this file; rewards are the same for all."""

_NEEDS = {
    "toolrl": "its data: git clone https://github.com/qiancheng0/ToolRL, in the folder",
    "healthbench": "a judge's key in OPENAI_API_KEY, and the data set's file: see run.yaml",
}


def write_run(folder: Path, like: str) -> list[str]:
    """Write `run.yaml` and `my_rewards.py`.

    Args:
        folder: a new or empty one.
        like: one of TEMPLATES.

    Returns:
        Lines that say what to do next.

    Raises:
        ConfigError: there is no such template, or the folder holds something.
        CheckpointError: the folder may not be written.
    """
    if like not in TEMPLATES:
        close = nearest(like, list(TEMPLATES))
        meant = f"did you mean {close}? There are" if close else "there are"
        raise ConfigError(f"--like: no run is called '{like}'; {meant} {', '.join(TEMPLATES)}")
    if folder.exists() and not folder.is_dir():
        raise ConfigError(f"{folder} is a file; name a new folder")
    if folder.exists() and any(folder.iterdir()):
        raise ConfigError(f"{folder} is not empty; name a new folder")
    texts = resources.files("rvpo.commands") / "templates"
    for name, source in (("run.yaml", f"{like}.yaml"), ("my_rewards.py", "my_rewards.py")):
        write_text(folder / name, (texts / source).read_text(encoding="utf-8"))
    lines = [f"wrote   {folder / 'run.yaml'}\nwrote   {folder / 'my_rewards.py'}"]
    if like in _NEEDS:
        lines.append(f"needs   {_NEEDS[like]}")
    enter = shlex.join(["cd", str(folder)])
    lines.append(f"next    {enter} && rvpo plan --config run.yaml")
    return [*lines, "then    rvpo train --config run.yaml"]
