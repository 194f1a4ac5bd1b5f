"""A stop is asked for once, told once, and heard after the step."""

from __future__ import annotations

import io
import signal
from typing import Any

import pytest

from rvpo.runtime.interrupt import Interrupt
from rvpo.runtime.ranks import Ranks
from tests.judge.processes import wait_until

WORDS = "stopping after this step; once more stops at once"


def test_the_first_signal_asks_for_a_stop_and_the_second_stops_at_once(ranks: Ranks) -> None:
    told: list[str] = []
    interrupt = Interrupt(ranks, told.append)
    with interrupt.listening():
        assert not interrupt.requested()
        signal.raise_signal(signal.SIGTERM)
        assert interrupt.requested()
        wait_until(lambda: told == [WORDS])
        with pytest.raises(KeyboardInterrupt):
            signal.raise_signal(signal.SIGTERM)
    assert told == [WORDS]


class Closing(io.RawIOBase):
    """A terminal that closes in the middle of a write."""

    def __init__(self) -> None:
        self.shown = b""

    def writable(self) -> bool:
        return True

    def write(self, text: Any) -> int:
        self.shown += bytes(text)
        if len(self.shown) == len(bytes(text)):
            signal.raise_signal(signal.SIGTERM)
        return len(bytes(text))


def test_a_signal_in_the_middle_of_a_write_is_told_after_it(ranks: Ranks) -> None:
    terminal = Closing()
    stream = io.BufferedWriter(terminal)

    def say(text: str) -> None:
        stream.write(text.encode())
        stream.flush()

    interrupt = Interrupt(ranks, say)
    with interrupt.listening():
        say("step 1, ")
        assert interrupt.requested()
        wait_until(lambda: terminal.shown == f"step 1, {WORDS}".encode())
