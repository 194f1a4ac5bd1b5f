"""Every signal to stop is heard where somebody listens, and nowhere else."""

from __future__ import annotations

import os
import signal

import pytest

from rvpo.runtime.signals import on_stop, stop_signals, stopping_at_once

STOPS = stop_signals()


def handlers() -> list[object]:
    return [signal.getsignal(number) for number in STOPS]


@pytest.mark.parametrize("number", STOPS)
def test_a_signal_is_heard_within_the_block_and_the_handlers_of_before_come_back(
    number: signal.Signals,
) -> None:
    before = handlers()
    heard: list[int] = []
    with on_stop(heard.append):
        signal.raise_signal(number)
        signal.raise_signal(number)
    assert heard == [number, number]
    assert handlers() == before


@pytest.mark.parametrize("number", STOPS)
def test_the_inner_block_hears_and_the_outer_one_again_after_it(number: signal.Signals) -> None:
    outer: list[int] = []
    inner: list[int] = []
    with on_stop(outer.append):
        with on_stop(inner.append):
            signal.raise_signal(number)
        assert (outer, inner) == ([], [number])
        signal.raise_signal(number)
    assert (outer, inner) == ([number], [number])


@pytest.mark.parametrize("number", STOPS)
def test_at_once_is_what_ctrl_c_is(number: signal.Signals) -> None:
    before = handlers()
    with pytest.raises(KeyboardInterrupt), stopping_at_once():
        signal.raise_signal(number)
    assert handlers() == before


@pytest.mark.parametrize("number", [number for number in STOPS if number != signal.SIGINT])
def test_a_fork_of_a_process_that_listens_ends_as_if_nobody_did(number: signal.Signals) -> None:
    """A pool terminates its workers so, and wants neither their word nor a trace of them."""
    heard: list[int] = []
    with on_stop(heard.append), on_stop(heard.append):
        child = os.fork()
        if child == 0:
            signal.raise_signal(number)
            os._exit(0)
        status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    assert status == -number
    assert not heard


def test_a_hang_up_that_is_let_pass_is_no_request() -> None:
    """As under nohup."""
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        with stopping_at_once():
            signal.raise_signal(signal.SIGHUP)
    finally:
        signal.signal(signal.SIGHUP, before)
