"""Weights that reach vLLM while it generates, on a stand-in for it."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from threading import Event, RLock
from types import SimpleNamespace
from typing import Any

import pytest

from rvpo.rollout.vllm.engine import VllmEngine
from rvpo.rollout.vllm.watch import abort_in_turn
from tests.fakes import make_prompt
from tests.rollout.vllm.test_rollout_order import FakeLlm, Nothing, engine_around

LONG = 60.0


class Standing(FakeLlm):
    """A vLLM in a process of its own, whose samples get a second token when they may."""

    def __init__(self) -> None:
        super().__init__()
        self.version = ""
        self.under_way, self.go_on = Event(), Event()

    def sleep(self, level: int, mode: str = "abort") -> None:
        self.events.append(f"sleep {level} {mode}")

    def reset_prefix_cache(self, reset_running_requests: bool = False) -> bool:
        self.events.append("compute anew" if reset_running_requests else "forget")
        return True

    def set_weight_version(self, version: str) -> None:
        super().set_weight_version(version)
        self.version = version

    def step(self) -> list[Any]:
        first = self.version
        self.under_way.set()
        assert self.go_on.wait(LONG)
        outputs = super().step()
        for output in outputs:
            (completion,) = output.outputs
            completion.token_ids = [7, 7]
            completion.logprobs = completion.logprobs[:1] * 2
            completion.weight_versions = [
                SimpleNamespace(version=first, start=0, end=1),
                SimpleNamespace(version=self.version, start=1, end=2),
            ]
        return outputs


def apart(llm: FakeLlm, *, in_flight: bool) -> VllmEngine:
    """An engine in a process of its own around it."""
    engine = engine_around(llm, on_gpu=False)
    engine._in_process, engine._in_flight = False, in_flight
    return engine


def test_samples_stand_still_for_new_weights_and_go_on_under_them() -> None:
    llm = Standing()
    engine = apart(llm, in_flight=True)
    engine.load_weights(Nothing(), 3)
    llm.events.clear()
    with ThreadPoolExecutor(1) as thread:
        made = thread.submit(engine.generate, [make_prompt()], 2, 1)
        assert llm.under_way.wait(LONG)
        engine.load_weights(Nothing(), 4)
        llm.go_on.set()
        samples = made.result(LONG).samples
    assert llm.events == [
        *("forget", "sleep 0 keep", "send", "version 4", "compute anew", "wake scheduling"),
        "step",
    ]
    assert [(sample.policy_version, sample.versions) for sample in samples] == [(3, (3, 4))] * 2


def test_weights_that_come_between_rollouts_stop_nothing() -> None:
    llm = Standing()
    engine = apart(llm, in_flight=False)
    engine.load_weights(Nothing(), 3)
    assert llm.events == ["send", "version 3"]


def test_requests_and_weights_are_not_sent_at_the_same_time() -> None:
    """The way to the engine's process is for one thread at a time."""
    sending, go_on = Event(), Event()

    class Slow(Standing):
        def send(self, weights: object) -> None:
            sending.set()
            assert go_on.wait(LONG)
            super().send(weights)

    llm = Slow()
    llm.go_on.set()
    engine = apart(llm, in_flight=True)
    engine._sleep._weights = Nothing()
    with ThreadPoolExecutor(2) as threads:
        taken = threads.submit(engine.load_weights, Nothing(), 1)
        assert sending.wait(LONG)
        made = threads.submit(engine.generate, [make_prompt()], 1, 1)
        with pytest.raises(TimeoutError):
            made.result(0.05)
        go_on.set()
        taken.result(LONG)
        made.result(LONG)
    assert llm.events.index("wake scheduling") < llm.events.index("forget")


def test_samples_that_a_text_ended_are_taken_back_while_nothing_else_is_sent() -> None:
    aborted: list[list[str]] = []
    calls, core = RLock(), SimpleNamespace(abort_requests=aborted.append)
    abort_in_turn(core, calls)
    with ThreadPoolExecutor(1) as thread:
        with calls:
            core.abort_requests(["own"])  # by who sends already
            thread.submit(core.abort_requests, []).result(LONG)
            other = thread.submit(core.abort_requests, ["0"])
            with pytest.raises(TimeoutError):
                other.result(0.05)
            assert aborted == [["own"]]
        other.result(LONG)
    assert aborted == [["own"], ["0"]]
