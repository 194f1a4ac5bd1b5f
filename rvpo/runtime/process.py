"""Other processes: started, heard and ended, so that none of them outlives this one."""

from __future__ import annotations

import fcntl
import os
import select
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import IO, Final
from weakref import WeakSet

from rvpo.runtime.environment import LIFELINE, child_environment
from rvpo.runtime.shared_memory import held_only_by, remove
from rvpo.runtime.signals import was_taken

PIPE: Final = subprocess.PIPE
FOREVER_S: Final = float("inf")
UNHEARD_S: Final = 60.0
"""Longest time in which a process whose parent is gone may not hear of it, in seconds."""

_POLL_S: Final = 0.02
_END_BYTES: Final = 65536
"""End of a log, in which the last words are looked for."""
_lifelines: Final[WeakSet[IO[bytes]]] = WeakSet()


class Child:
    """A process that this one started and answers for.

    It hears of this one's end, however that comes, for its standard input closes. A program of ours
    calls `end_with_parent`, any other is put on a leash, see `leashed`. It leads a session of its
    own, for the terminal's Ctrl-C is this process's to handle; what it leaves there ends with it.

    Args:
        log: takes its standard error.
        stdout: takes its standard output, a PIPE for `first_line`; None for this process's own.
        environment: all of it; this process's own, without its rank, if none is given.
        hello: first bytes on its standard input.
        shared: file descriptors that it may use as well.
    """

    def __init__(
        self,
        command: Sequence[str],
        log: Log,
        *,
        stdout: IO[bytes] | int | None = None,
        environment: Mapping[str, str] | None = None,
        hello: bytes = b"",
        shared: Sequence[int] = (),
    ) -> None:
        self._log = log
        self._process = subprocess.Popen(
            command,
            bufsize=0,
            stdin=subprocess.PIPE,
            stdout=stdout,
            stderr=log.file,
            env=child_environment() if environment is None else environment,
            pass_fds=shared,
            start_new_session=True,
        )
        assert self._process.stdin is not None
        _lifelines.add(self._process.stdin)
        with suppress(BrokenPipeError):  # it died at once, which is noticed where others wait
            self._process.stdin.write(hello)

    @property
    def pid(self) -> int:
        return self._process.pid

    def status(self) -> int | None:
        """Its end, as `subprocess.Popen.returncode`; None as long as it runs."""
        if self._process.returncode is None:
            with suppress(ChildProcessError):  # reaped elsewhere
                # Until it is reaped, no other process can have its number.
                if os.waitid(os.P_PID, self.pid, os.WEXITED | os.WNOHANG | os.WNOWAIT):
                    self._kill_session()
        return self._process.poll()

    def ask(self, number: signal.Signals = signal.SIGTERM) -> None:
        """Send it a signal, to end if nothing else is said. Does nothing once it has ended."""
        if self.status() is None:
            os.kill(self.pid, number)

    def wait(self, seconds: float) -> None:
        """Wait until it has ended, but no longer than so many seconds."""
        until = time.monotonic() + seconds
        while self.status() is None and time.monotonic() < until:
            time.sleep(_POLL_S)

    def end(self, patience_s: float) -> None:
        """Wait until it has ended, and kill it after a while. A second call does nothing."""
        self.wait(patience_s)
        if self.status() is None:
            self._kill_session()
            self._process.wait()
        for pipe in (self._process.stdin, self._process.stdout):
            if pipe is not None:
                pipe.close()

    def first_line(self, until: float) -> bytes | None:
        """The line it prints, or what it printed of one before it ended; None if that takes longer.

        Args:
            until: moment of `time.monotonic`.
        """
        pipe, text = self._process.stdout, b""
        assert pipe is not None
        poller = select.poll()
        poller.register(pipe, select.POLLIN)
        while b"\n" not in text:
            if not poller.poll(1000 * max(0.0, until - time.monotonic())):
                return None
            piece = os.read(pipe.fileno(), 4096)
            if not piece:
                break
            text += piece
        return text.partition(b"\n")[0]

    def ending(self) -> str:
        """Its end in words, "exit status 1" or "SIGKILL"; empty as long as it runs."""
        status = self.status()
        if status is None:
            return ""
        if status > 128 and status - 128 in set(signal.Signals):
            status = 128 - status  # what a shell or the leash makes of a signal
        return ending(status)

    def last_words(self) -> str:
        """Its end in words, and the last line in its log."""
        return ", ".join(filter(None, (self.ending(), *self._log.lines()[-1:])))

    def _kill_session(self) -> None:
        held = held_only_by(self.pid)
        for group in {self.pid, *_groups(self.pid)}:
            with suppress(ProcessLookupError):
                os.killpg(group, signal.SIGKILL)
        remove(held)


def _groups(session: int) -> set[int]:
    """The process groups of a session, such as that of a command whose leash was killed, by Linux's
    account; none elsewhere."""
    found = set()
    for file in Path("/proc").glob("[0-9]*/stat"):
        with suppress(OSError):  # it ended meanwhile
            fields = file.read_bytes().rpartition(b")")[2].split()
            if int(fields[3]) == session:
                found.add(int(fields[2]))
    return found


def end_all(children: Sequence[Child], patience_s: float) -> None:
    """Ask several to end, and kill those that have not after so many seconds."""
    for child in children:
        child.ask()
    until = time.monotonic() + patience_s
    for child in children:
        child.end(until - time.monotonic())


def _let_go() -> None:
    for pipe in list(_lifelines):
        pipe.close()


# A process that is forked off this one and outlives it, as engines may, would hold the other ends.
os.register_at_fork(after_in_child=_let_go)


def end_with_parent() -> None:
    """Have SIGTERM sent to this process when the one that started it is gone: its standard input is
    a lifeline and closes then. To what this process starts itself, it is an empty file from now on.
    """
    os.environ.pop(LIFELINE, None)
    lifeline = os.dup(0)
    empty = os.open(os.devnull, os.O_RDONLY)
    os.dup2(empty, 0)
    os.close(empty)

    def hold() -> None:
        while os.read(lifeline, 4096):
            pass
        os.kill(os.getpid(), signal.SIGTERM)
        if not was_taken(UNHEARD_S):  # it waits for another that is gone too
            os.kill(os.getpid(), signal.SIGKILL)

    threading.Thread(target=hold, name="lifeline", daemon=True).start()


def ending(status: int) -> str:
    """The end of a process in words, "exit status 1" or "SIGKILL".

    Args:
        status: below 0 the signal that ended it, some of which have no name.
    """
    if status >= 0:
        return f"exit status {status}"
    is_named = -status in set(signal.Signals)
    return signal.Signals(-status).name if is_named else f"signal {-status}"


class Log:
    """A file that a child writes to, and this process reads the last words from.

    Args:
        file: open for both; an unnamed temporary one if none is given.
    """

    def __init__(self, file: IO[bytes] | None = None) -> None:
        self.file = tempfile.TemporaryFile() if file is None else file  # noqa: SIM115
        # Truncating leaves no hole only where writers append. The child shares this flag.
        flags = fcntl.fcntl(self.file, fcntl.F_GETFL)
        fcntl.fcntl(self.file, fcntl.F_SETFL, flags | os.O_APPEND)

    def bound(self, size: int) -> None:
        """Forget what was written if it is more than `size` bytes, but for its end."""
        if os.fstat(self.file.fileno()).st_size > size:
            end = self._end(min(_END_BYTES, size))
            os.ftruncate(self.file.fileno(), 0)
            os.write(self.file.fileno(), end)

    def text(self, size: int = _END_BYTES) -> str:
        """The last `size` bytes, without space around them."""
        return self._end(size).decode(errors="replace").strip()

    def _end(self, size: int) -> bytes:
        end = os.fstat(self.file.fileno()).st_size
        return os.pread(self.file.fileno(), size, max(0, end - size))

    def lines(self) -> list[str]:
        """The last of the lines that are not empty."""
        return [line.strip() for line in self.text().splitlines() if line.strip()]

    def close(self) -> None:
        self.file.close()


def own_words(size: int = 65536) -> str:
    """The last `size` bytes that this process, and those it started, wrote to its standard error;
    nothing where that is no file that can be read, as a launched rank's is."""
    try:
        end = os.fstat(2).st_size
        return os.pread(2, size, max(0, end - size)).decode(errors="replace")
    except OSError:  # a terminal, a pipe, or a file that is open for writing alone
        return ""


def python_module(name: str) -> tuple[str, ...]:
    """The command that runs an installed module, as `python -m` does.

    The working folder is not searched: a `queue.py` there would hide Python's own. Functions that
    settings name are still found in it, see `rvpo.runtime.imports`.
    """
    return (sys.executable, "-P", "-m", name)


def leashed(command: Sequence[str], folder: Path | None = None) -> tuple[str, ...]:
    """The command that runs a program which does not listen for the end of its parent.

    Args:
        folder: the program's own, which is gone with it.
    """
    folders = [] if folder is None else [str(folder)]
    return (*python_module("rvpo.runtime.process_group"), *folders, "--", *command)
