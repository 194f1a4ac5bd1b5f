"""Calls to a vLLM process end, whatever becomes of it."""

from __future__ import annotations

import queue
import threading
from concurrent.futures import Future
from dataclasses import dataclass, field
from typing import Any

import pytest
from vllm.v1.engine.exceptions import EngineDeadError

from rvpo.errors import EngineError
from rvpo.rollout.vllm.watch import Watch, answer


def test_an_answer_comes_back() -> None:
    assert answer(lambda: 3, "counting") == 3


def test_whatever_a_call_raises_is_a_sentence() -> None:
    def fails() -> None:
        raise Exception("Call to collective_rpc method failed")

    with pytest.raises(EngineError, match=r"vLLM failed while counting.*collective_rpc"):
        answer(fails, "counting")


def test_a_rank_that_is_lost_while_weights_are_gathered_is_no_fault_of_the_engine() -> None:
    lost = RuntimeError("[/x/gloo/transport/tcp/pair.cc:553] Connection closed by peer")

    def fails() -> None:
        raise lost

    with pytest.raises(RuntimeError) as raised:
        answer(fails, "taking new weights")
    assert raised.value is lost


def test_a_call_that_hangs_ends_at_its_deadline() -> None:
    go_on = threading.Event()
    with pytest.raises(EngineError, match="did not answer within 0 s while counting"):
        answer(go_on.wait, "counting", seconds=0.05)
    go_on.set()


@dataclass
class Resources:
    engine_dead: bool = False


@dataclass
class Core:
    """What of vLLM's client a watch touches."""

    resources: Resources = field(default_factory=Resources)
    outputs_queue: queue.Queue[Any] = field(default_factory=queue.Queue)
    utility_results: dict[int, Future[Any]] = field(default_factory=dict)


def test_a_death_is_told_to_all_who_wait() -> None:
    core = Core()
    core.utility_results[1] = Future()
    watch = Watch(core)
    core.resources.engine_dead = True
    assert isinstance(core.outputs_queue.get(timeout=5), EngineDeadError)
    with pytest.raises(EngineDeadError):
        core.utility_results[1].result(timeout=5)
    watch.close()


def test_closing_lets_go_who_still_waits() -> None:
    core = Core()
    Watch(core).close()
    assert isinstance(core.outputs_queue.get(timeout=5), EngineDeadError)
