from __future__ import annotations

import json
import os
import platform
import subprocess
from pathlib import Path

import pytest

from rvpo.report.provenance import git_state, installed_version, provenance


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """A repository with one commit of one file."""
    (tmp_path / "code.py").write_text("x = 1\n")
    git(tmp_path, "init", "-q")
    git(tmp_path, "add", "code.py")
    git(tmp_path, "commit", "-qm", "first")
    return tmp_path


def git(folder: Path, *arguments: str) -> str:
    identity = ["-c", "user.name=A", "-c", "user.email=a@example.org"]
    command = ["git", "-C", str(folder), *identity, *arguments]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()


def test_a_clean_checkout_gives_its_revision(checkout: Path) -> None:
    revision = git(checkout, "rev-parse", "HEAD")
    assert git_state(checkout / "code.py") == {"revision": revision, "dirty": False}


def test_only_changes_of_tracked_files_make_it_dirty(checkout: Path) -> None:
    (checkout / "notes.txt").write_text("untracked")
    assert git_state(checkout / "code.py") == {
        "revision": git(checkout, "rev-parse", "HEAD"),
        "dirty": False,
    }
    (checkout / "code.py").write_text("x = 2\n")
    state = git_state(checkout / "code.py")
    assert state is not None
    assert state["dirty"] is True


def test_a_package_inside_somebody_elses_repository_has_no_revision(checkout: Path) -> None:
    installed = checkout / "site-packages"
    installed.mkdir()
    (installed / "module.py").write_text("")
    assert git_state(installed / "module.py") is None


def test_a_file_in_no_repository_has_no_revision(tmp_path: Path) -> None:
    (tmp_path / "module.py").write_text("")
    assert git_state(tmp_path / "module.py") is None


def test_provenance_is_json_without_host_path_or_environment() -> None:
    text = json.dumps(provenance())
    assert platform.node() not in text
    assert str(Path.home()) not in text
    assert str(Path.cwd()) not in text
    assert os.environ["PATH"] not in text
    assert provenance()["packages"]["torch"] == installed_version("torch")


def test_a_package_that_is_not_there_has_no_version() -> None:
    assert installed_version("no-such-distribution") is None
