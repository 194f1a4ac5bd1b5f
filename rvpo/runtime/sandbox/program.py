"""A program of others, run to its end within limits."""

from __future__ import annotations

import marshal
import os
import platform
import selectors
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Final, Literal, NamedTuple

import rvpo
from rvpo.errors import SandboxError
from rvpo.runtime.sandbox.launcher import STARTED

Isolation = Literal["namespaces", "none"]
"""Boundary of a program: a world of its own, or limits alone."""

_START_S: Final = 60.0
"""Longest time in which a program may begin, on a busy machine too."""
_END_S: Final = 10.0
_PIECE: Final = 65536
_LIBRARIES: Final = ("/lib", "/lib64", "/usr/lib", "/usr/lib64", "/etc/ld.so.cache")
_PARTS: Final = ("bin", "lib", "lib64", "pyvenv.cfg")
"""Parts that programs see of a folder in which Python is installed."""
_LAUNCH: Final = (
    "import sys; sys.path.insert(0, sys.argv.pop(1)); "
    "from rvpo.runtime.sandbox.launcher import main; main()"
)
_ENVIRONMENT: Final = {
    **{"HOME": "/tmp", "LANG": "C.UTF-8", "PATH": "/usr/bin:/bin", "PYTHONHASHSEED": "0"},
    "MALLOC_ARENA_MAX": "1",  # each thread's own arena would count as memory
    **{f"{library}_NUM_THREADS": "1" for library in ("OMP", "OPENBLAS", "MKL")},
}


@dataclass(frozen=True)
class Limits:
    """Most that one program may take."""

    seconds: int = 5
    """Time of computing."""
    memory_mb: int = 1024
    """Address space, in MiB."""
    files_mb: int = 64
    """Size of all files that it writes, in MiB; they are in memory, and go with it."""
    output_kb: int = 4096
    """Length of what it prints, in KiB; it is ended when it prints more."""

    patience_s: float = 5.0
    """Time by the clock that it may take beyond twice its time of computing."""

    @property
    def clock_s(self) -> float:
        """Longest time by the clock."""
        return 2.0 * self.seconds + self.patience_s


class Ended(NamedTuple):
    """The end of a program."""

    output: bytes
    """Its standard output."""
    status: int
    """Its exit status; 128 and the signal's number where one ended it."""
    exceeded: Literal["", "time", "output"]
    """Limit for which we ended it; memory and time of computing it notices itself."""


@dataclass(frozen=True)
class Program:
    """A Python program: files, and the words by which Python runs them.

    Args:
        files: texts by name.
        words: arguments of `python`.
        isolation: see `Isolation`.
    """

    files: Mapping[str, str]
    words: tuple[str, ...]
    isolation: Isolation = "namespaces"

    def run(self, given: bytes, limits: Limits) -> Ended:
        """Run it with something on its standard input.

        Raises:
            SandboxError: it could not be started, which says nothing about it.
        """
        with self.started(limits, subprocess.PIPE, subprocess.PIPE) as process:
            return pumped(process, given, limits)

    @contextmanager
    def started(
        self, limits: Limits, stdin: int, stdout: int, kept: tuple[int, ...] = ()
    ) -> Iterator[subprocess.Popen[bytes]]:
        """The program's process, which is over with all that it left behind when the block ends.

        Args:
            stdin: a descriptor, or PIPE.
            stdout: the same.
            kept: descriptors that the program has under the same numbers.

        Raises:
            SandboxError: it could not be started.
        """
        if sys.platform != "linux":
            raise SandboxError(f"programs are shut in by Linux, and this is {platform.system()}")
        isolated = self.isolation == "namespaces"
        with ExitStack() as stack:
            folder = "" if isolated else stack.enter_context(_scratch())
            spec = stack.enter_context(os.fdopen(os.memfd_create("program"), "wb"))
            text = {
                "isolated": isolated,
                "folder": folder,
                "shown": _shown() if isolated else [],
                "files": dict(self.files),
                "command": [sys.executable, "-s", "-B", *self.words],
                "environment": _ENVIRONMENT | ({"HOME": folder} if folder else {}),
                "seconds": limits.seconds,
                "memory_mb": limits.memory_mb,
                "files_mb": limits.files_mb,
            }
            spec.write(marshal.dumps(text))
            spec.flush()
            status_from, status_to = os.pipe()
            status = stack.enter_context(os.fdopen(status_from, "rb", buffering=0))
            with os.fdopen(status_to, "wb", buffering=0):
                process = subprocess.Popen(
                    _launcher(spec.fileno(), status_to),
                    stdin=stdin,
                    stdout=stdout,
                    stderr=subprocess.DEVNULL,
                    pass_fds=(spec.fileno(), status_to, *kept),
                    start_new_session=True,
                )
            stack.enter_context(_owned(process, isolated))
            _await_start(status.fileno())
            yield process


def _scratch() -> tempfile.TemporaryDirectory[str]:
    """A folder for a program without isolation, which can leave there what we may not remove."""
    return tempfile.TemporaryDirectory(prefix="rvpo-program-", ignore_cleanup_errors=True)


def _launcher(spec: int, status: int) -> list[str]:
    root = str(Path(rvpo.__file__).parents[1])
    return [sys.executable, "-I", "-S", "-c", _LAUNCH, root, str(spec), str(status)]


@contextmanager
def _owned(process: subprocess.Popen[bytes], isolated: bool) -> Iterator[None]:
    """End a process, and all that it began, when the block ends."""
    try:
        yield
    finally:
        if isolated and process.poll() is None:
            process.terminate()  # its number 1 is killed, and with it its whole world
            with suppress(subprocess.TimeoutExpired):
                process.wait(_END_S)
        if process.returncode is None:  # until it is reaped, no other group can have its number
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        for pipe in (process.stdin, process.stdout):
            if pipe is not None:
                with suppress(BrokenPipeError):
                    pipe.close()


def _await_start(status: int) -> None:
    said = b""
    with selectors.DefaultSelector() as selector:
        selector.register(status, selectors.EVENT_READ)
        until = time.monotonic() + _START_S
        while STARTED not in said:
            if not selector.select(max(0.0, until - time.monotonic())):
                raise SandboxError(f"the program did not begin in {_START_S:.0f} s")
            piece = os.read(status, _PIECE)
            if not piece:
                break
            said += piece
    if said != STARTED:
        raise SandboxError(said.decode(errors="replace") or "the launcher ended at once")


def pumped(process: subprocess.Popen[bytes], given: bytes, limits: Limits) -> Ended:
    """Write its input and read its output until it has ended or is over a limit."""
    assert process.stdin is not None
    assert process.stdout is not None
    stdin, stdout = process.stdin.fileno(), process.stdout.fileno()
    os.set_blocking(stdin, False)
    os.set_blocking(stdout, False)
    left, output = memoryview(given), bytearray()
    most, until = limits.output_kb * 1024, time.monotonic() + limits.clock_s
    with ExitStack() as stack:
        end = os.pidfd_open(process.pid)
        stack.callback(os.close, end)
        selector = stack.enter_context(selectors.DefaultSelector())
        selector.register(end, selectors.EVENT_READ)
        selector.register(stdout, selectors.EVENT_READ)
        selector.register(stdin, selectors.EVENT_WRITE)
        while True:
            ready = {key.fd for key, _ in selector.select(max(0.0, until - time.monotonic()))}
            if stdin in ready:
                left = _written(stdin, left)
                if not left:
                    selector.unregister(stdin)
                    process.stdin.close()
            if stdout in ready:
                piece = os.read(stdout, _PIECE)
                output += piece
                if not piece:
                    selector.unregister(stdout)
                if len(output) > most:
                    return Ended(bytes(output[:most]), 0, "output")
            elif end in ready:
                break  # all that it wrote was read, for nothing more was ready
            elif not ready and time.monotonic() >= until:
                return Ended(bytes(output), 0, "time")
    end_of = os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)
    assert end_of is not None
    status = end_of.si_status + (0 if end_of.si_code == os.CLD_EXITED else 128)
    return Ended(bytes(output), status, "")


def _written(pipe: int, left: memoryview) -> memoryview:
    """The rest of an input after some of it was written; nothing where nobody reads any longer."""
    try:
        return left[os.write(pipe, left[:_PIECE]) :]
    except BrokenPipeError:
        return left[:0]
    except BlockingIOError:
        return left


@cache
def _shown() -> list[tuple[str, str]]:
    """(source, target) of the folders and files that a program can read: the system's libraries,
    and this Python with its packages."""
    found: dict[str, str] = {}
    for path in (*_LIBRARIES, *(f"{home}/{part}" for home in _homes() for part in _PARTS)):
        above = [str(parent) for parent in Path(path).parents]
        if os.path.exists(path) and not any(each in found for each in above):
            keep_link = os.path.islink(path) and path in _LIBRARIES
            found[path] = path if keep_link else os.path.realpath(path)
    return [(source, target) for target, source in found.items()]


def _homes() -> list[str]:
    """Folders in which this Python is installed, those that links go through too."""
    homes = [sys.prefix, sys.base_prefix]
    link = sys.executable
    while True:
        homes.append(str(Path(link).parents[1]))
        if not os.path.islink(link):
            break
        link = os.path.normpath(os.path.join(os.path.dirname(link), os.readlink(link)))
    return list(dict.fromkeys([*homes, *map(os.path.realpath, homes)]))
