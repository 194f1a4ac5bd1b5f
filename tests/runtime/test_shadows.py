"""Files of the working folder never hide a library, and a user's own module is always found."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from rvpo.runtime.process import python_module

SHADOWS = ("calendar", "datasets", "queue", "typing", "types", "random", "torch", "rvpo", "yaml")
ROOT = Path(__file__).parents[2]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A working folder with modules called like libraries, and one of the user's own."""
    for name in SHADOWS:
        (tmp_path / f"{name}.py").write_text(f"raise RuntimeError('{name} is hidden')\n")
    (tmp_path / "my_rewards.py").write_text(
        "import calendar, queue\n\ndef polite(completions, **columns):\n    return [1.0]\n"
    )
    return tmp_path


def run(folder: Path, *command: str) -> str:
    done = subprocess.run(
        command,
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


FINDS = """
import sys
from rvpo.runtime.imports import import_function
assert import_function("my_rewards:polite", "rewards.r.function")(["a"]) == [1.0]
import multiprocessing as m
if __name__ == "__main__":
    process = m.get_context("spawn").Process(target=print, args=("spawned",))
    process.start()
    process.join()
    sys.exit(process.exitcode)
"""


def test_modules_start_alike_whatever_lies_in_the_working_folder(folder: Path) -> None:
    assert run(folder, *python_module("rvpo"), "--version").startswith("rvpo ")
    # What a user starts so; the interpreter itself has run before any line of ours.
    for name in ("types", "typing", "rvpo"):
        (folder / f"{name}.py").unlink()
    assert run(folder, sys.executable, "-m", "rvpo", "--version").startswith("rvpo ")


def test_own_modules_are_found_by_what_is_started(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere" / "finds.py").write_text(FINDS)
    environment = f"{ROOT}{os.pathsep}{tmp_path / 'elsewhere'}"
    done = subprocess.run(
        python_module("finds"),
        cwd=folder,
        env={**os.environ, "PYTHONPATH": environment},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert (done.returncode, done.stdout) == (0, "spawned\n"), done.stderr


def test_every_module_is_started_without_the_working_folder() -> None:
    for file in (ROOT / "rvpo").rglob("*.py"):
        # In a sandbox the working folder holds the modules that were laid there for it.
        if file.name != "process.py" and file.parent.name != "code":
            assert '"-m"' not in file.read_text(encoding="utf-8"), f"{file}: use python_module"
