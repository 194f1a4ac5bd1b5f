"""Folders for the sockets of a run, which no other user may enter."""

from __future__ import annotations

import atexit
import os
import shutil
import tempfile
from pathlib import Path
from typing import Final

from rvpo.errors import EngineError

# Bytes of the folder that holds it: a socket's path has up to 107, and its name in there, which
# may be a UUID, takes the rest.
_LONGEST_PARENT: Final = 48
_MOST_PREFIX: Final = 12


def private_folder(prefix: str) -> Path:
    """A new folder of mode 0700, with a path so short that sockets can have names in it. It is
    gone when this process ends, unless that is killed.

    Args:
        prefix: start of its name, at most 12 letters.

    Raises:
        EngineError: there is no place for one.
    """
    assert len(prefix) <= _MOST_PREFIX
    for parent in (tempfile.gettempdir(), "/tmp", "/dev/shm"):
        if len(os.fsencode(parent)) <= _LONGEST_PARENT and os.access(parent, os.W_OK):
            folder = Path(tempfile.mkdtemp(prefix=prefix, dir=parent))
            atexit.register(shutil.rmtree, folder, ignore_errors=True)
            return folder
    raise EngineError(
        f"{tempfile.gettempdir()} is too long a path for a socket in it, and neither /tmp nor "
        "/dev/shm can be written; set TMPDIR to a short one"
    )
