"""Functions that end or hold the process in which they are called."""

from __future__ import annotations

import ctypes
import os
import signal


def number_of_process() -> int:
    """Tells its process."""
    return os.getpid()


def leaves_at_once() -> str:
    """Ends its process."""
    os._exit(3)


def breaks_memory() -> str:
    """Reads where nothing is."""
    return str(ctypes.string_at(0))


def ends_all_of_its_group() -> str:
    """Kills its process."""
    os.kill(os.getpid(), signal.SIGKILL)
    return "alive"


def never_returns() -> str:
    """Computes without end."""
    while True:
        pass
