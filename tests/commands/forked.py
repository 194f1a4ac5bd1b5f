"""Runs that start at once: a process that has imported what training needs, and forks them.

To import takes longest of what most tests start; a forked run is the command from its first line
on. Where its very start matters a test starts it anew.

    python -m tests.commands.forked

takes one JSON object a line: {"start": {...}} is answered by the number of a new process, and
{"poll": number} by its exit status, or null while it runs. All end with the standard input.
"""

from __future__ import annotations

import atexit
import ctypes
import gc
import json
import math
import os
import runpy
import signal
import subprocess
import sys
import tempfile
import time
import traceback
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any, NoReturn, TextIO

from tests.imported import import_training

ROOT = Path(__file__).parents[2]
_CLONE_NEWNET = 0x40000000  # linux/sched.h


class ForkedRun:
    """`rvpo` in a process of its own, a rank of several or alone: as much of `subprocess.Popen` as
    tests need. It has a session of its own."""

    def __init__(self, source: Forker, pid: int, output: Path) -> None:
        self._source, self.pid, self._output = source, pid, output
        self.returncode: int | None = None

    def __enter__(self) -> ForkedRun:
        return self

    def __exit__(self, *_: object) -> None:
        self.communicate()

    def poll(self) -> int | None:
        if self.returncode is None:
            self.returncode = self._source.ask({"poll": self.pid})
        return self.returncode

    def wait(self, timeout: float | None = None) -> int:
        """Exit status, minus the signal's number if one ended it."""
        until = time.monotonic() + (math.inf if timeout is None else timeout)
        while (status := self.poll()) is None:
            assert time.monotonic() < until, f"it is still there:\n{self.text()}"
            time.sleep(0.02)
        return status

    def communicate(self, timeout: float | None = None) -> tuple[str, None]:
        """All that it wrote, when it has ended."""
        self.wait(timeout)
        return self.text(), None

    def send_signal(self, number: signal.Signals) -> None:
        if self.poll() is None:
            os.kill(self.pid, number)

    def kill(self) -> None:
        self.send_signal(signal.SIGKILL)

    def text(self) -> str:
        """All that it wrote so far."""
        return self._output.read_text(errors="replace")


class Forker:
    """The process that forks runs; for a `with` block."""

    def __enter__(self) -> Forker:
        self._words = tempfile.TemporaryDirectory()
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.commands.forked"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            cwd=ROOT,
            env={**os.environ, "OMP_NUM_THREADS": "1"},
        )
        return self

    def __exit__(self, *_: object) -> None:
        self._process.communicate()
        self._words.cleanup()

    def ask(self, order: Mapping[str, Any]) -> Any:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(json.dumps(order) + "\n")
        self._process.stdin.flush()
        return json.loads(self._process.stdout.readline())

    def start(
        self,
        arguments: Sequence[str],
        folder: Path,
        environment: Mapping[str, str],
        far: str | None = None,
        terminal: str | None = None,
        program: str = "rvpo",
    ) -> ForkedRun:
        """A run, or one rank of it, in a folder.

        Args:
            far: the network namespace that it is in; this process's own if none is named.
            terminal: the device that it runs on, to which all it writes goes; a file of
                `ForkedRun.text` if none is named.
            program: the module that is run as one.
        """
        output = Path(self._words.name) / f"{time.monotonic_ns()}.txt"
        order = {
            "arguments": list(arguments),
            "folder": str(folder),
            "environment": dict(environment),
            "far": far,
            "terminal": terminal,
            "program": program,
            "output": str(output),
        }
        return ForkedRun(self, self.ask({"start": order}), output)


@cache
def forker() -> Forker:
    """One for all tests of this process."""
    shared = Forker().__enter__()
    atexit.register(shared.__exit__)
    return shared


def run_program(name: str, *arguments: str) -> None:
    """Run a module as a program, in this folder, to its good end."""
    run = forker().start(arguments, Path.cwd(), os.environ, program=name)
    output, _ = run.communicate(timeout=480)
    assert run.returncode == 0, output


def main() -> NoReturn:
    """Fork runs until the standard input ends, or be one of them."""
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    import_training()
    import deepspeed.runtime.superoffload.superoffload_stage3
    import matplotlib.backends.backend_agg
    import scipy.stats

    import rvpo.cli
    import rvpo.commands.compare
    import rvpo.commands.evaluate
    import rvpo.commands.train

    del deepspeed, matplotlib, scipy, rvpo
    gc.freeze()  # what is there already is no child's to look through
    there: set[int] = set()
    while line := _line():
        order = json.loads(line)
        begin = order.get("start")
        if begin is None:
            answer = _poll(order["poll"], there)
        elif answer := os.fork():
            there.add(answer)
        else:
            answers.close()
            _become(begin)
        print(json.dumps(answer), file=answers, flush=True)
    for pid in there:
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)
    os._exit(0)  # libraries that were imported for others have nothing to tidy up


def _line() -> bytes:
    """The next order, and nothing of those behind it, which a child would have too."""
    line = b""
    while not line.endswith(b"\n") and (letter := os.read(0, 1)):
        line += letter
    return line


def _poll(pid: int, there: set[int]) -> int | None:
    ended, status = os.waitpid(pid, os.WNOHANG)
    if not ended:
        return None
    there.remove(pid)
    return os.waitstatus_to_exitcode(status)


def _become(order: Mapping[str, Any]) -> NoReturn:
    """Be a program in a folder, with an environment and a network, to its orderly end."""
    status = 1
    try:
        os.setsid()
        place = order["terminal"]  # opened by a session that has none, it is this session's own
        _redirect(place or os.devnull, place or order["output"])
        if order["far"] is not None:
            _enter(order["far"])
        os.chdir(order["folder"])
        os.environ.clear()
        os.environ.update(order["environment"])
        tempfile.tempdir = None  # of another environment
        sys.path.insert(0, order["folder"])
        sys.argv = [order["program"], *order["arguments"]]
        runpy.run_module(order["program"], run_name="__main__")
        status = 0
    except SystemExit as end:
        status = end.code if isinstance(end.code, int) else int(end.code is not None)
    except BaseException:
        traceback.print_exc()
    finally:
        atexit._run_exitfuncs()
        for stream in (sys.stdout, sys.stderr):
            stream.flush()
        os._exit(status)  # libraries that were imported for others have nothing to tidy up


def _redirect(source: str, output: str) -> None:
    for number, path, flags in (
        (0, source, os.O_RDONLY),
        (1, output, os.O_WRONLY | os.O_CREAT | os.O_APPEND),
    ):
        opened = os.open(path, flags)
        os.dup2(opened, number)
        os.close(opened)
    os.dup2(1, 2)
    sys.stdin = _opened(0, "r")
    sys.stdout, sys.stderr = _opened(1, "w"), _opened(2, "w")


def _opened(number: int, mode: str) -> TextIO:
    return open(number, mode, closefd=False)


def _enter(network: str) -> None:
    with open(f"/var/run/netns/{network}") as file:
        if ctypes.CDLL(None, use_errno=True).setns(file.fileno(), _CLONE_NEWNET):
            raise OSError(ctypes.get_errno(), "setns")


if __name__ == "__main__":
    main()
