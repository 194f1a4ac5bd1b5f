"""CI installs by uv, from the indexes that pip would take; nothing is installed here."""

from __future__ import annotations

import os
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from tests.pages import ROOT


def told(folder: Path, text: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """The script, where pip has a file of settings, and others in the environment."""
    file = folder / "pip.conf"
    file.write_text(text)
    kept = {name: value for name, value in os.environ.items() if not name.startswith("PIP_")}
    return subprocess.run(
        [sys.executable, str(ROOT / ".ci" / "uv_settings.py")],
        env=kept | {"PIP_CONFIG_FILE": str(file)} | environment,
        capture_output=True,
        text=True,
    )


def exported(said: str) -> dict[str, str]:
    words = [word for line in said.splitlines() for word in shlex.split(line)[1:]]
    return dict(word.split("=", 1) for word in words)


def test_indexes_and_files_of_pip_are_those_of_uv(tmp_path: Path) -> None:
    text = """
[global]
index-url = https://someone:secret$@one.example/simple
extra-index-url = https://two.example/simple
    https://three.example/simple
find-links = /overridden
timeout = 10
[install]
constraint = /a/constraints.txt
[list]
format = columns
"""
    done = told(tmp_path, text, PIP_FIND_LINKS="/wheels /more", PIP_DISABLE_PIP_VERSION_CHECK="1")
    assert done.returncode == 0, done.stderr
    found = exported(done.stdout)
    assert {name: found.get(name) for name in EXPECTED} == EXPECTED


EXPECTED = {
    "UV_DEFAULT_INDEX": "https://someone:secret$@one.example/simple",
    "UV_INDEX": "https://two.example/simple https://three.example/simple",
    "UV_FIND_LINKS": "/wheels,/more",
    "UV_HTTP_TIMEOUT": "10",
    "UV_CONSTRAINT": "/a/constraints.txt",
    "UV_INDEX_STRATEGY": "unsafe-best-match",
}


@pytest.mark.parametrize("name", ["no-index", "only-binary", "client-cert"])
def test_a_setting_that_uv_has_no_word_for_leaves_all_to_pip(tmp_path: Path, name: str) -> None:
    done = told(tmp_path, f"[install]\n{name} = x\n")
    assert done.returncode == 1
    assert name in done.stderr
