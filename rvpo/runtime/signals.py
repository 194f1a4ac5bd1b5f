"""The signals that ask a process to stop."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from types import FrameType
from typing import Final, NoReturn

from rvpo.errors import INTERRUPTED

_taken: Final = threading.Event()


def was_taken(seconds: float) -> bool:
    """True where a handler of `on_stop` has run, or does within so many seconds: none does as long
    as the main thread is in a call that does not come back to Python."""
    return _taken.wait(seconds)


def stop_signals() -> tuple[signal.Signals, ...]:
    """The requests of a person, a scheduler, a job's time limit, and a terminal that closes, unless
    whoever started this process lets that pass (nohup)."""
    asked = (
        *(signal.SIGINT, signal.SIGTERM, signal.SIGUSR1, signal.SIGUSR2),
        signal.SIGXCPU,
    )
    lets_pass = signal.getsignal(signal.SIGHUP) is signal.SIG_IGN
    return asked if lets_pass else (*asked, signal.SIGHUP)


@contextmanager
def on_stop(
    act: Callable[[int], None], numbers: Sequence[signal.Signals] | None = None
) -> Iterator[None]:
    """Call `act` with the number of each signal to stop which arrives within the block.

    A process that is forked off meanwhile, as pools of workers are, answers as before the block.

    Args:
        numbers: the signals; all of `stop_signals` if none are named.
    """
    owner = os.getpid()

    def take(number: int, frame: FrameType | None) -> None:
        if os.getpid() == owner:
            _taken.set()
            act(number)
        else:
            signal.signal(number, before[signal.Signals(number)])
            signal.raise_signal(number)

    taken = stop_signals() if numbers is None else numbers
    before = {number: signal.getsignal(number) or signal.SIG_DFL for number in taken}
    for number in taken:
        signal.signal(number, take)
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


@contextmanager
def stopping_at_once() -> Iterator[None]:
    """Let every signal to stop do what Ctrl-C does: raise a KeyboardInterrupt, so that all that was
    begun is ended in order."""

    def stop(number: int) -> None:
        raise KeyboardInterrupt

    # Python's own handler of SIGINT stays: asyncio ends its tasks in order where it finds that one.
    with on_stop(stop, [number for number in stop_signals() if number != signal.SIGINT]):
        yield


@contextmanager
def importing(last_words: str = "") -> Iterator[None]:
    """Let every signal to stop end this process, with the status of an interrupted one: for the
    imports of a command that has begun nothing yet.

    A KeyboardInterrupt would not do. Libraries in C and C++ pass over one that comes while they
    import another, and go on with half of that: to any other error, to an abort, or to the end of
    the work that was to be stopped.

    Args:
        last_words: a line for the standard output.
    """

    def end(number: int) -> NoReturn:
        # Not through `sys.stdout`, which the signal may have found in the middle of writing.
        os.write(1, f"{last_words}\n".encode() if last_words else b"")
        os._exit(INTERRUPTED)

    with on_stop(end):
        yield


@contextmanager
def ending_at_once() -> Iterator[None]:
    """Let every signal to stop end this process, as before any handler: for calls that do not come
    back to Python, which would run none, and where nothing has been begun."""
    before = {number: signal.getsignal(number) or signal.SIG_DFL for number in stop_signals()}
    for number in before:
        signal.signal(number, signal.SIG_DFL)
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
