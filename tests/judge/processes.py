"""Looking at processes that should be there, or no longer."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent.parent


def alive(pid: int) -> bool:
    """Whether a process runs; one that is dead and not yet reaped does not."""
    try:
        state = Path(f"/proc/{pid}/stat").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return False
    return state.rpartition(")")[2].split()[0] not in "ZX"


def wait_until(true: Callable[[], object], timeout_s: float = 20.0) -> None:
    """Until a condition holds, or the test fails."""
    until = time.monotonic() + timeout_s
    while not true():
        assert time.monotonic() < until, "it did not come to pass"
        time.sleep(0.02)
