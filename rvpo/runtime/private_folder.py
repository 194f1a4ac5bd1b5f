"""Folders of a run's own, which no other user may enter and which outlive none of its processes
for long: those of killed ones are removed by the next that wants one."""

from __future__ import annotations

import atexit
import fcntl
import os
import re
import secrets
import shutil
import tempfile
from contextlib import suppress
from pathlib import Path
from typing import Final

from rvpo.errors import EngineError

# Bytes of the folder that holds it: a socket's path has up to 107, and its name in there, which
# may be a UUID, takes the rest.
_LONGEST_PARENT: Final = 48
_MOST_PREFIX: Final = 12
_LOCKED: Final = re.compile("[0-9A-F]{8}")
"""Rest of the name of a folder that is locked; `mkdtemp` writes small letters."""
_held: Final[dict[Path, int]] = {}


def private_folder(prefix: str) -> Path:
    """A new folder of mode 0700, with a path so short that sockets can have names in it. It is
    gone when this process ends; where that is killed, when the next of this prefix is made.

    Args:
        prefix: start of its name, at most 12 letters.

    Raises:
        EngineError: there is no place for one.
    """
    assert len(prefix) <= _MOST_PREFIX
    for parent in (tempfile.gettempdir(), "/tmp", "/dev/shm"):
        if len(os.fsencode(parent)) <= _LONGEST_PARENT and os.access(parent, os.W_OK):
            _sweep(Path(parent), prefix)
            folder = _locked(Path(tempfile.mkdtemp(prefix=prefix, dir=parent)), prefix)
            atexit.register(remove_folder, folder)
            return folder
    raise EngineError(
        f"{tempfile.gettempdir()} is too long a path for a socket in it, and neither /tmp nor "
        "/dev/shm can be written; set TMPDIR to a short one"
    )


def lock_of(folder: Path) -> int:
    """The file descriptor that keeps a private folder, for other processes that work in it."""
    return _held[folder]


def remove_folder(folder: Path) -> None:
    """Remove a private folder. A second call does nothing."""
    shutil.rmtree(folder, ignore_errors=True)
    if (lock := _held.pop(folder, None)) is not None:
        os.close(lock)


def _locked(new: Path, prefix: str) -> Path:
    """A folder under its name to stay, with a lock of which the kernel lets go when the last
    process is gone that has it open; nobody sees that name before."""
    lock = os.open(new, os.O_RDONLY)
    fcntl.flock(lock, fcntl.LOCK_EX)
    folder = new.rename(new.parent / f"{prefix}{secrets.token_hex(4).upper()}")
    _held[folder] = lock
    return folder


def _sweep(parent: Path, prefix: str) -> None:
    """Remove the folders that nobody holds any longer."""
    for folder in parent.glob(f"{prefix}*"):
        if not _LOCKED.fullmatch(folder.name.removeprefix(prefix)):
            continue
        with suppress(OSError):  # held, gone meanwhile, or another user's
            lock = os.open(folder, os.O_RDONLY)
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                shutil.rmtree(folder, ignore_errors=True)
            finally:
                os.close(lock)
