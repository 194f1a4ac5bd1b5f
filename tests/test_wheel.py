"""The wheel holds all that a run needs: what it carries is used without the checkout."""

from __future__ import annotations

import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]


def run(*words: str, cwd: Path, **environment: str) -> str:
    done = subprocess.run(
        [sys.executable, "-P", *words],
        cwd=cwd,
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The built wheel, unpacked as an installer does."""
    folder = tmp_path_factory.mktemp("wheel")
    build = ("-m", "pip", "wheel", "--quiet", "--no-deps", "--no-build-isolation", "--no-cache-dir")
    copied = folder / "source"
    ignored = subprocess.run(
        ["git", "-C", str(ROOT), "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        capture_output=True,
        text=True,
        check=True,
    ).stdout.split("\0")
    for name in filter(None, ignored):
        if name.startswith("rvpo/") or name in ("pyproject.toml", "README.md", "LICENSE"):
            target = copied / name
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes((ROOT / name).read_bytes())
    run(*build, "--wheel-dir", str(folder), str(copied), cwd=folder)
    (wheel,) = folder.glob("rvpo-*.whl")
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(folder / "site")
    return folder / "site"


def test_every_file_of_the_package_is_in_the_wheel(installed: Path) -> None:
    ours = {
        path.relative_to(ROOT / "rvpo")
        for path in (ROOT / "rvpo").rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }
    assert {path for path in ours if not (installed / "rvpo" / path).is_file()} == set()


def test_a_new_run_of_the_wheel_is_shown_in_an_empty_folder(
    installed: Path, tmp_path: Path
) -> None:
    found = {"PYTHONPATH": str(installed)}
    run("-m", "rvpo", "new", "mine", cwd=tmp_path, **found)
    shown = run("-m", "rvpo", "show", "--config", "run.yaml", cwd=tmp_path / "mine", **found)
    assert "my_rewards:brief" in shown
    where = run("-c", "import rvpo; print(rvpo.__file__)", cwd=tmp_path, **found)
    assert where.startswith(str(installed))
