"""Functions that end, hold or leave the process in which they are called, one kind each."""

from __future__ import annotations

import asyncio
import ctypes
import os
import signal
import subprocess
import threading
import time
from typing import Any

IMPORTED_IN = os.getpid()
"""Process in which this module was imported."""
seen: list[str] = []


def number_of_process() -> int:
    """Tells its process."""
    return os.getpid()


def fits(seconds: float = 0.0) -> str:
    """Tells when it began and when it returned.

    Args:
        seconds: Time between the two.
    """
    begun = time.monotonic()
    time.sleep(seconds)
    return f"{begun} {time.monotonic()}"


def remembers(word: str) -> list[str]:
    """Tells all words so far.

    Args:
        word: Another one.
    """
    seen.append(word)
    return seen


def takes_settings(given: Any) -> str:
    """Tells what the settings fill in.

    Args:
        given: Anything.
    """
    return repr(given)


# ── It ends ─────────────────────────────────────────────────────────────────────────────────────


def leaves_at_once() -> str:
    """Ends its process."""
    os._exit(3)


def leaves_in_silence() -> str:
    """Ends its process as if all were well."""
    os._exit(0)


def breaks_memory() -> str:
    """Reads where nothing is."""
    return str(ctypes.string_at(0))


def ends_by_a_signal_without_a_name() -> str:
    """Sends itself one of the real-time signals."""
    os.kill(os.getpid(), 40)
    return "alive"


def ends_all_of_its_group() -> str:
    """Kills its process, and what it began with."""
    os.kill(0, signal.SIGKILL)
    return "alive"


def kills_its_parent() -> str:
    """Kills the process that looks after it."""
    os.kill(os.getppid(), signal.SIGKILL)
    time.sleep(60)
    return "alive"


def leaves_from_a_thread() -> str:
    """Ends its process beside itself."""
    threading.Thread(target=os._exit, args=(4,)).start()
    time.sleep(60)
    return "alive"


# ── It does not return ──────────────────────────────────────────────────────────────────────────


def never_returns() -> str:
    """Computes without end."""
    while True:
        pass


def holds_python() -> str:
    """Waits in C, and lets no thread of Python go on."""
    ctypes.PyDLL(None).sleep(60)
    return "late"


def does_not_listen() -> str:
    """Ignores what asks it to end."""
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGPIPE):
        signal.signal(number, signal.SIG_IGN)
    time.sleep(60)
    return "late"


def stops_itself() -> str:
    """Stands still."""
    os.kill(os.getpid(), signal.SIGSTOP)
    return "late"


async def awaits_for_ever() -> str:
    """Waits in a loop."""
    await asyncio.sleep(60)
    return "late"


# ── It writes where it should not ───────────────────────────────────────────────────────────────


def _into_all(text: bytes) -> None:
    for descriptor in range(3, 64):
        try:
            os.write(descriptor, text)
        except OSError:
            continue


def writes_into_all() -> str:
    """Writes a line into every descriptor."""
    _into_all(b"hello\n")
    return "right"


def writes_half_a_line() -> str:
    """Writes what an answer begins with into every descriptor."""
    _into_all(b"[0")
    return "right"


def writes_nesting() -> str:
    """Writes what is too deep to be read."""
    _into_all(b"[" * 60_000 + b"\n")
    return "right"


def answers_for_another() -> str:
    """Writes an answer to another call into every descriptor."""
    _into_all(b'[123456789, "told", "wrong", ""]\n')
    return "right"


def floods_all() -> str:
    """Writes without end into every descriptor."""
    while True:
        _into_all(b"x" * 65_536)


def closes_all() -> str:
    """Closes every descriptor."""
    os.closerange(0, 4096)
    return "right"


def opens_in_its_place() -> str:
    """Has a file of its own stand for every descriptor."""
    mine = os.open("/dev/null", os.O_RDWR)
    for descriptor in range(64):
        os.dup2(mine, descriptor)
    return "right"


# ── It leaves others behind ─────────────────────────────────────────────────────────────────────

_SLEEP = ["sleep", "60"]
_ORPHAN = ["sh", "-c", "setsid sleep 60 > /dev/null & echo $!"]


def leaves_others(ending: str) -> str:
    """Starts a process, one in a session of its own, and an orphan in another.

    Args:
        ending: Way in which it ends.
    """
    own = subprocess.Popen(_SLEEP)
    away = subprocess.Popen(_SLEEP, start_new_session=True)
    orphan = subprocess.run(_ORPHAN, stdout=subprocess.PIPE, text=True, check=True)
    told = f"{os.getpid()} {own.pid} {away.pid} {orphan.stdout.strip()}"
    if ending == "raises":
        raise ValueError(told)
    if ending != "returns":
        with open(ending, "w") as file:
            file.write(told + "\n")
        never_returns()
    return told


# ── It tells too much ───────────────────────────────────────────────────────────────────────────


def takes_all_memory() -> int:
    """Asks for more than there is."""
    return len(bytearray(2**60))


def says_too_much() -> str:
    """Raises more than anybody reads."""
    raise ValueError("y" * 1_000_000)


def fails_at_length() -> str:
    """Fails with more than anybody reads."""
    from rvpo.environments import ToolFailed

    raise ToolFailed("y" * 1_000_000)
