"""Ranks that start at once: a process that has imported what training needs, and forks them.

    python -m tests.commands.forked

takes one JSON object a line: {"start": {...}} is answered by the number of a new process, and
{"poll": number} by its exit status, or null while it runs. All end with the standard input.
"""

from __future__ import annotations

import ctypes
import json
import os
import signal
import subprocess
import sys
import time
import traceback
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NoReturn, TextIO

_CLONE_NEWNET = 0x40000000  # linux/sched.h


class ForkedRank:
    """A rank of a run, as far as a test needs it."""

    def __init__(self, source: Forker, pid: int, output: Path) -> None:
        self._source, self.pid, self._output = source, pid, output
        self.returncode: int | None = None

    def poll(self) -> int | None:
        if self.returncode is None:
            self.returncode = self._source.ask({"poll": self.pid})
        return self.returncode

    def wait(self, timeout_s: float) -> int:
        """Exit status, minus the signal's number if one ended it."""
        until = time.monotonic() + timeout_s
        while (status := self.poll()) is None:
            assert time.monotonic() < until, f"rank is still there:\n{self.text()}"
            time.sleep(0.02)
        return status

    def send(self, number: signal.Signals) -> None:
        if self.poll() is None:
            os.kill(self.pid, number)

    def text(self) -> str:
        """All that it wrote so far."""
        return self._output.read_text(errors="replace")


class Forker:
    """The process that forks ranks; for a `with` block."""

    def __enter__(self) -> Forker:
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.commands.forked"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env={**os.environ, "OMP_NUM_THREADS": "1"},
        )
        return self

    def __exit__(self, *_: object) -> None:
        self._process.communicate()

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
        far: str | None,
    ) -> ForkedRank:
        """A rank in a folder.

        Args:
            far: the network namespace that it is in; this process's own if none is named.
        """
        output = folder.parent / f"{folder.name}-said-{time.monotonic_ns()}.txt"
        order = {
            "arguments": list(arguments),
            "folder": str(folder),
            "environment": dict(environment),
            "far": far,
            "output": str(output),
        }
        return ForkedRank(self, self.ask({"start": order}), output)


def main() -> NoReturn:
    """Fork ranks until the standard input ends."""
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    from rvpo.runtime.logging import quiet_libraries

    quiet_libraries()
    import deepspeed
    import transformers.models.llama.modeling_llama

    import rvpo.commands.train

    del deepspeed, transformers, rvpo
    there: set[int] = set()
    for line in sys.stdin:
        order = json.loads(line)
        begin = order.get("start")
        answer = _poll(order["poll"], there) if begin is None else _start(begin, there)
        print(json.dumps(answer), file=answers, flush=True)
    for pid in there:
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)
    os._exit(0)  # libraries that were imported for others have nothing to tidy up


def _start(order: Mapping[str, Any], there: set[int]) -> int:
    pid = os.fork()
    if not pid:
        _become(order)
    there.add(pid)
    return pid


def _poll(pid: int, there: set[int]) -> int | None:
    ended, status = os.waitpid(pid, os.WNOHANG)
    if not ended:
        return None
    there.remove(pid)
    return os.waitstatus_to_exitcode(status)


def _become(order: Mapping[str, Any]) -> NoReturn:
    """Be `rvpo` in a folder, with an environment and a network."""
    status = 1
    try:
        _redirect(order["output"])
        if order["far"] is not None:
            _enter(order["far"])
        os.chdir(order["folder"])
        os.environ.clear()
        os.environ.update(order["environment"])
        sys.path.insert(0, order["folder"])
        sys.argv = ["rvpo", *order["arguments"]]
        from rvpo.cli import main

        main()
        status = 0
    except SystemExit as end:
        status = end.code if isinstance(end.code, int) else int(end.code is not None)
    except BaseException:
        traceback.print_exc()
    finally:
        for stream in (sys.stdout, sys.stderr):
            stream.flush()
        os._exit(status)


def _redirect(output: str) -> None:
    for number, path, flags in (
        (0, os.devnull, os.O_RDONLY),
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
