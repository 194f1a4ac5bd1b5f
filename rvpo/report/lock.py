"""The lock of a run's folder, which says who holds it."""

from __future__ import annotations

import fcntl
import os
import re
import socket
from pathlib import Path
from typing import IO, Final

from rvpo.errors import ConfigError

LOCK: Final = "lock"
"""Name of its file. What it holds is for people, and for machines that the kernel's lock does not
keep apart, as on some network disks; it is empty once a run has ended in order."""


class FolderLock:
    """A folder that this process has taken; the kernel lets go when it ends, however it does.

    Attributes:
        left_by: the process that had it before on another machine, as in "12 on node3", if it did
            not let go of it in order.
    """

    def __init__(self, file: IO[str], left_by: str | None) -> None:
        self._file = file
        self.left_by = left_by

    @classmethod
    def take(cls, folder: Path) -> FolderLock:
        """Take a folder, which is made if it is not there.

        Raises:
            ConfigError: another process has it.
            OSError: the folder may not be written.
        """
        path = folder / LOCK
        while True:
            folder.mkdir(parents=True, exist_ok=True)
            file = path.open("a+", encoding="utf-8", errors="replace")
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                with file:
                    raise ConfigError(_taken(folder, _holder(file))) from None
            if path.exists() and os.path.samestat(os.fstat(file.fileno()), path.stat()):
                break
            file.close()  # somebody removed the folder in between
        before, host = _holder(file), socket.gethostname()
        is_elsewhere = before is not None and not before.endswith(f" on {host}")
        file.truncate(0)
        file.write(f"{os.getpid()} on {host}\n")
        file.flush()
        return cls(file, before if is_elsewhere else None)

    def release(self) -> None:
        """Let another process have the folder."""
        self._file.truncate(0)
        self._file.close()


def is_taken(folder: Path) -> bool:
    """True where a process has a folder, by what its file says; nothing is locked for it. Of a
    process on another machine it is not seen that it was killed."""
    try:
        with (folder / LOCK).open(encoding="utf-8", errors="replace") as file:
            holder = _holder(file)
    except FileNotFoundError:
        return False
    if holder is None:
        return False
    number, host = holder.split(" on ")
    return host != socket.gethostname() or Path("/proc", number).exists()


def _holder(file: IO[str]) -> str | None:
    file.seek(0)
    found = re.match(r"\d{1,10} on [\w.:-]{1,253}$", file.read(300), re.ASCII | re.MULTILINE)
    return found[0] if found else None


def _taken(folder: Path, holder: str | None) -> str:
    named = "" if holder is None else f"; it is {holder}"
    return (
        f"{folder} is being trained by another process{named}; wait for it, stop it, or write "
        "elsewhere: output=runs/NAME"
    )
