"""Shared memory of Python's that processes leave behind when they are killed.

`multiprocessing` has a tracker that removes what nobody closed. Where a whole session of processes
is killed, the tracker dies with it, and the segments stay until the machine starts anew.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Final

FOLDER: Final = Path("/dev/shm")
_NAMES: Final = ("psm_", "sem.mp-")
"""Beginnings of the names that `multiprocessing` makes up."""
_FRESH_S: Final = 60.0
"""Age up to which a segment may have been made by one process and not yet opened by another."""


def held_only_by(session: int) -> frozenset[Path]:
    """Segments that processes of a session map and no others do."""
    mine, others = set[Path](), set[Path]()
    for process in _processes():
        (mine if _session(process) == session else others).update(_mapped(process))
    return frozenset(mine - others)


def left_behind() -> list[Path]:
    """Segments of this user that no process maps."""
    mapped = {path for process in _processes() for path in _mapped(process)}
    return sorted(path for path in _segments() if path not in mapped and _is_old_and_own(path))


def remove(paths: Iterable[Path]) -> None:
    """Remove segments, whose memory is free when nobody maps them any more."""
    for path in paths:
        with suppress(OSError):  # whoever made it has removed it
            path.unlink()


def _segments() -> Iterator[Path]:
    for name in _NAMES:
        yield from FOLDER.glob(f"{name}*")


def _is_old_and_own(path: Path) -> bool:
    try:
        about = path.stat()
    except OSError:
        return False
    return about.st_uid == os.getuid() and time.time() - about.st_mtime > _FRESH_S


def _processes() -> list[Path]:
    return [path for path in Path("/proc").glob("[0-9]*") if path.name.isdigit()]


def _session(process: Path) -> int | None:
    with suppress(OSError, ValueError, IndexError):
        # The name of the program, in brackets, may hold anything.
        return int((process / "stat").read_text(errors="replace").rpartition(")")[2].split()[3])
    return None


def _mapped(process: Path) -> Iterator[Path]:
    try:
        lines = (process / "maps").read_text(errors="replace").splitlines()
    except OSError:  # it has ended, or belongs to somebody else
        return
    for line in lines:
        path = Path(line[line.find("/") :]) if f" {FOLDER}/" in line else None
        if path is not None and path.parent == FOLDER and path.name.startswith(_NAMES):
            yield path
