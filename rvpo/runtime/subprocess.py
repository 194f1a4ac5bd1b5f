"""Other processes of Python: started, supervised and ended."""

from __future__ import annotations

import fcntl
import os
import signal
import socket
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from typing import IO, Final
from weakref import WeakSet

_HIDDEN: Final = (
    *("RANK", "LOCAL_RANK", "GROUP_RANK", "ROLE_RANK"),
    *("WORLD_SIZE", "LOCAL_WORLD_SIZE", "GROUP_WORLD_SIZE", "ROLE_WORLD_SIZE"),
    *("MASTER_ADDR", "MASTER_PORT"),
    # A rank's ways to its launcher, one of them a file descriptor that no child has.
    *("RVPO_LAUNCHER", "RVPO_REASON_FD", "RVPO_RENDEZVOUS"),
)


def child_environment() -> dict[str, str]:
    """This process's environment without what makes a process a rank of a run."""
    return {name: value for name, value in os.environ.items() if name not in _HIDDEN}


_lifelines: Final[WeakSet[IO[bytes]]] = WeakSet()


def start_child(
    command: Sequence[str], environment: Mapping[str, str], stdout: int, stderr: IO[bytes]
) -> subprocess.Popen[bytes]:
    """Start a process that hears of this one's end, however it comes: its standard input closes.

    It has a session of its own, for the terminal's Ctrl-C is the trainer's to handle.
    """
    process = subprocess.Popen(
        command,
        bufsize=0,
        stdin=subprocess.PIPE,
        stdout=stdout,
        stderr=stderr,
        env=environment,
        start_new_session=True,
    )
    assert process.stdin is not None
    _lifelines.add(process.stdin)
    return process


def _let_go() -> None:
    for pipe in list(_lifelines):
        pipe.close()


# A process that is forked off this one and outlives it, as engines may, would hold the other ends.
os.register_at_fork(after_in_child=_let_go)


def let_end(process: subprocess.Popen[bytes]) -> None:
    """Ask a child to end."""
    if process.stdin is not None:
        process.stdin.close()
    process.terminate()


def see_end(process: subprocess.Popen[bytes], timeout_s: float) -> None:
    """Wait until a child has ended; kill it after a while."""
    try:
        process.wait(max(0.0, timeout_s))
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def hold_port(host: str, sharing: int = socket.SO_REUSEADDR) -> socket.socket:
    """A free port of `host` that stays ours, whichever process listens on it.

    The socket is bound and does not listen: others that set the same option can bind and listen
    there, and the kernel gives the port to nobody as the local end of a connection. So a process
    that is started again finds its port free.

    Args:
        sharing: SO_REUSEADDR lets in processes of any user, SO_REUSEPORT those of this user alone.

    Raises:
        OSError: `host` is no address of this machine.
    """
    family, kind, protocol, _, address = socket.getaddrinfo(host, 0, type=socket.SOCK_STREAM)[0]
    held = socket.socket(family, kind, protocol)
    try:
        held.setsockopt(socket.SOL_SOCKET, sharing, 1)
        held.bind(address)
    except OSError:
        held.close()
        raise
    return held


class Log:
    """Standard error of a child, in an unnamed temporary file."""

    def __init__(self) -> None:
        self.file = tempfile.TemporaryFile()  # noqa: SIM115 (closed by `close`)
        # Truncating leaves no hole only where writers append. The child shares this flag.
        flags = fcntl.fcntl(self.file, fcntl.F_GETFL)
        fcntl.fcntl(self.file, fcntl.F_SETFL, flags | os.O_APPEND)

    def bound(self, size: int) -> None:
        """Forget what was written if it is more than `size` bytes."""
        if os.fstat(self.file.fileno()).st_size > size:
            os.ftruncate(self.file.fileno(), 0)

    def lines(self, size: int = 65536) -> list[str]:
        """The lines that are not empty among the last `size` bytes."""
        end = os.fstat(self.file.fileno()).st_size
        text = os.pread(self.file.fileno(), size, max(0, end - size)).decode(errors="replace")
        return [line.strip() for line in text.splitlines() if line.strip()]

    def close(self) -> None:
        self.file.close()


def ending(status: int) -> str:
    """The end of a process in words, by its `Popen.returncode`, or by what a shell or the leash
    makes of a signal."""
    if status > 128 and status - 128 in set(signal.Signals):
        return signal.Signals(status - 128).name
    return f"exit status {status}" if status >= 0 else signal.Signals(-status).name


def python_module(name: str) -> tuple[str, ...]:
    """The command that runs an installed module, as `python -m` does.

    The working folder is not searched: a `queue.py` there would hide Python's own. Functions that
    settings name are still found in it, see `rvpo.config.imports`.
    """
    return (sys.executable, "-P", "-m", name)
