"""Every signal to stop is heard where somebody listens, and nowhere else."""

from __future__ import annotations

import ast
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

import rvpo.cli
from rvpo.errors import INTERRUPTED
from rvpo.runtime.signals import on_stop, stop_signals, stopping_at_once

STOPS = stop_signals()


def handlers() -> list[object]:
    return [signal.getsignal(number) for number in STOPS]


@pytest.mark.parametrize("number", STOPS)
def test_a_signal_is_heard_within_the_block_and_the_handlers_of_before_come_back(
    number: signal.Signals,
) -> None:
    before = handlers()
    heard: list[int] = []
    with on_stop(heard.append):
        signal.raise_signal(number)
        signal.raise_signal(number)
    assert heard == [number, number]
    assert handlers() == before


@pytest.mark.parametrize("number", STOPS)
def test_the_inner_block_hears_and_the_outer_one_again_after_it(number: signal.Signals) -> None:
    outer: list[int] = []
    inner: list[int] = []
    with on_stop(outer.append):
        with on_stop(inner.append):
            signal.raise_signal(number)
        assert (outer, inner) == ([], [number])
        signal.raise_signal(number)
    assert (outer, inner) == ([number], [number])


@pytest.mark.parametrize("number", STOPS)
def test_at_once_is_what_ctrl_c_is(number: signal.Signals) -> None:
    before = handlers()
    with pytest.raises(KeyboardInterrupt), stopping_at_once():
        signal.raise_signal(number)
    assert handlers() == before


@pytest.mark.parametrize("number", [number for number in STOPS if number != signal.SIGINT])
def test_a_fork_of_a_process_that_listens_ends_as_if_nobody_did(number: signal.Signals) -> None:
    """A pool terminates its workers so, and wants neither their word nor a trace of them."""
    heard: list[int] = []
    with on_stop(heard.append), on_stop(heard.append):
        child = os.fork()
        if child == 0:
            signal.raise_signal(number)
            os._exit(0)
        status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    assert status == -number
    assert not heard


def test_a_hang_up_that_is_let_pass_is_no_request() -> None:
    """As under nohup."""
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        with stopping_at_once():
            signal.raise_signal(signal.SIGHUP)
    finally:
        signal.signal(signal.SIGHUP, before)


@pytest.mark.parametrize("number", STOPS)
def test_a_library_that_passes_over_errors_passes_over_no_signal_while_it_is_imported(
    number: signal.Signals, tmp_path: Path
) -> None:
    """As torch does with what comes while its C++ imports numpy."""
    (tmp_path / "careless.py").write_text(
        "import signal\n"
        "try:\n"
        f"    signal.raise_signal({int(number)})\n"
        "except BaseException:\n"
        "    pass\n"
        "print('it went on')\n"
    )
    code = (
        "from rvpo.runtime.signals import importing, stopping_at_once\n"
        "with stopping_at_once(), importing('good bye'):\n"
        "    import careless\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        env={**os.environ, "PYTHONPATH": f"{Path.cwd()}:{tmp_path}"},
    )
    assert (done.returncode, done.stdout, done.stderr) == (INTERRUPTED, "good bye\n", "")


def test_every_command_is_imported_where_signals_end_it() -> None:
    ways = {"importing", "farewell_before_ranks"}
    loose, found = [], 0
    for module in Path(rvpo.cli.__file__).parent.glob("*.py"):
        tree = ast.parse(module.read_text())
        guarded = {
            inner
            for block in ast.walk(tree)
            if isinstance(block, ast.With) and ways & set(map(_called, block.items))
            for inner in ast.walk(block)
        }
        for function in (each for each in ast.walk(tree) if isinstance(each, ast.FunctionDef)):
            for node in ast.walk(function):
                if isinstance(node, ast.ImportFrom) and (node.module or "").startswith(
                    ("rvpo.commands", "rvpo.config", "rvpo.compare", "rvpo.plan")
                ):
                    found += 1
                    loose += [] if node in guarded else [f"{module.name}:{node.lineno}"]
    assert found > 15
    assert not loose


def _called(item: ast.withitem) -> str:
    call = item.context_expr
    return call.func.id if isinstance(call, ast.Call) and isinstance(call.func, ast.Name) else ""
