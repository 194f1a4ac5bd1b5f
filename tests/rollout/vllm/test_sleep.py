"""The choreography of a GPU's memory, on a stand-in for the engine that has it."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from rvpo.errors import EngineError
from rvpo.rollout.vllm.sleep import Sleep


class FakeLlm:
    """An engine whose weights are gone after a sleep, if it does not keep them. A weight sender
    too."""

    def __init__(self, *, keeps: bool = False) -> None:
        self.keeps = keeps
        self.awake = {"weights", "kv_cache"}
        self.weights: object = "random"
        self.calls: list[str] = []

    def sleep(self, level: int) -> None:
        # At 2 the machine's own memory has no copy of the weights.
        assert level == (1 if self.keeps else 2)
        self.awake, self.weights = set(), self.weights if self.keeps else None
        self.calls.append("sleep")

    def wake_up(self, tags: list[str]) -> None:
        assert not self.awake & set(tags), "what is awake must not be mapped again"
        self.awake |= set(tags)
        self.calls += [f"wake {tag}" for tag in tags]

    def send(self, weights: object) -> None:
        assert "weights" in self.awake
        self.weights = weights
        self.calls.append("send")


class Some:
    """Weights that can be told apart."""

    def layout(self) -> list[tuple[str, torch.dtype, tuple[int, ...]]]:
        return []

    def __iter__(self) -> Iterator[tuple[str, Tensor]]:
        return iter(())

    def as_saved(self) -> Some:
        return self


def make(*, ever: bool = True, keeps: bool = False) -> tuple[FakeLlm, Sleep]:
    llm = FakeLlm(keeps=keeps)
    return llm, Sleep(llm, llm, ever=ever, keeps=keeps)


def test_an_engine_sleeps_from_its_start_and_first_weights_come_without_the_cache() -> None:
    llm, sleep = make()
    assert llm.calls == ["sleep"]
    sleep.receive(Some())
    assert llm.awake == {"weights"}
    sleep.end()
    sleep.begin()
    assert llm.calls == ["sleep", "wake weights", "send", "wake kv_cache", "sleep"]


def test_a_second_rollout_with_the_same_weights_has_them_sent_again() -> None:
    llm, sleep = make()
    weights = Some()
    sleep.receive(weights)
    for _ in range(2):
        sleep.end()
        assert llm.weights is weights
        sleep.begin()
    assert llm.calls[4:] == ["sleep", "wake weights", "send", "wake kv_cache", "sleep"]


def test_an_engine_that_keeps_its_weights_is_sent_them_once() -> None:
    llm, sleep = make(keeps=True)
    weights = Some()
    sleep.receive(weights)
    for _ in range(2):
        sleep.end()
        assert llm.weights is weights
        sleep.begin()
    wakes = ["wake weights", "wake kv_cache", "sleep"]
    assert llm.calls == ["sleep", "wake weights", "send", "wake kv_cache", "sleep", *wakes]


def test_an_engine_that_has_its_memory_alone_never_sleeps_and_gets_weights_once() -> None:
    llm, sleep = make(ever=False)
    sleep.receive(Some())
    for _ in range(2):
        sleep.end()
        sleep.begin()
    assert llm.calls == ["send"]


@pytest.mark.parametrize("ever", [True, False])
def test_no_rollout_is_made_of_weights_that_nobody_sent(ever: bool) -> None:
    llm, sleep = make(ever=ever)
    with pytest.raises(EngineError, match="before it was given weights"):
        sleep.end()
    assert "send" not in llm.calls


@given(st.lists(st.sampled_from(["receive", "roll out"])), st.booleans(), st.booleans())
def test_in_any_order_a_rollout_has_the_newest_weights_and_ends_asleep(
    steps: list[str], ever: bool, keeps: bool
) -> None:
    llm, sleep = make(ever=ever, keeps=keeps)
    newest: object = None
    for step in steps:
        if step == "receive":
            sleep.receive(newest := Some())
            continue
        if newest is None:
            continue
        sleep.end()
        assert llm.awake == {"weights", "kv_cache"}
        assert llm.weights is newest
        sleep.begin()
        assert bool(llm.awake) is not ever
