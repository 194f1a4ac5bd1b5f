"""Turns are given in the order in which they were asked for."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from threading import Event

import pytest

from rvpo.runtime.turns import Turns
from tests.judge.processes import wait_until


class Asked(Turns):
    """Turns that tell how many hold one or wait for it."""

    @property
    def asked(self) -> int:
        return len(self._line)


def test_whoever_asks_again_comes_after_those_who_waited() -> None:
    turns, order, let_go = Asked(), list[str](), Event()

    def greedy() -> None:
        with turns.turn():
            order.append("greedy")
            assert let_go.wait(60)
        with turns.turn():
            order.append("greedy again")

    def patient(name: str) -> None:
        with turns.turn():
            order.append(name)

    with ThreadPoolExecutor(3) as pool:
        first = pool.submit(greedy)
        wait_until(lambda: turns.asked == 1)
        second = pool.submit(patient, "second")
        wait_until(lambda: turns.asked == 2)
        third = pool.submit(patient, "third")
        wait_until(lambda: turns.asked == 3)
        let_go.set()
        for each in (first, second, third):
            each.result(60)
    assert order == ["greedy", "second", "third", "greedy again"]
    assert turns.asked == 0


def test_a_turn_that_fails_is_over() -> None:
    turns = Asked()
    with pytest.raises(KeyboardInterrupt), turns.turn():
        raise KeyboardInterrupt
    with turns.turn():
        assert turns.asked == 1
