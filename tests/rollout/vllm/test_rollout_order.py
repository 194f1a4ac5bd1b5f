"""A rollout of an engine that has its trainer's GPU in turn, on a stand-in for vLLM."""

from __future__ import annotations

from collections.abc import Iterator
from threading import Lock
from types import SimpleNamespace
from typing import Any, cast

import pytest
import torch
from torch import Tensor

from rvpo.errors import EngineError
from rvpo.rollout.vllm.engine import VllmEngine
from rvpo.rollout.vllm.sleep import Sleep
from rvpo.runtime.device_memory import MemoryPeak
from tests.fakes import make_prompt


class Request:
    """vLLM's `SamplingParams`, as far as an engine writes into it."""

    def __init__(self, seed: int | None = None, max_tokens: int = 8) -> None:
        self.seed, self.max_tokens = seed, max_tokens

    def clone(self) -> Request:
        return Request(self.seed, self.max_tokens)


class FakeLlm:
    """A vLLM `LLM`, its engine and the core of that in one; finishes all requests in one step."""

    def __init__(self) -> None:
        self.events: list[str] = []
        self.seeds: list[int | None] = []
        self.llm_engine = self.engine_core = self
        self.vllm_config = SimpleNamespace(cache_config=SimpleNamespace(kv_cache_size_tokens=64))
        self.scheduler = SimpleNamespace(kv_cache_manager=SimpleNamespace(usage=0.5), requests={})
        self._waiting: list[str] = []

    def sleep(self, level: int) -> None:
        self.events.append("sleep")

    def wake_up(self, tags: list[str]) -> None:
        self.events += [f"wake {tag}" for tag in tags]

    def send(self, weights: object) -> None:
        self.events.append("send")

    def set_weight_version(self, version: str) -> None:
        self.events.append(f"version {version}")

    def reset_prefix_cache(self) -> bool:
        self.events.append("forget")
        return True

    def add_request(
        self, name: str, prompt: dict[str, Any], request: Request, lora_request: None
    ) -> None:
        self.seeds.append(request.seed)
        self._waiting.append(name)

    def has_unfinished_requests(self) -> bool:
        return bool(self._waiting)

    def step(self) -> list[Any]:
        self.events.append("step")
        names, self._waiting = self._waiting, []
        completion = SimpleNamespace(
            finish_reason="stop",
            token_ids=[7],
            logprobs=[{7: SimpleNamespace(logprob=-1.0)}],
            weight_versions=[SimpleNamespace(version="0", start=0, end=1)],
        )
        return [
            SimpleNamespace(
                finished=True, request_id=name, prompt_token_ids=[1, 2], outputs=[completion]
            )
            for name in names
        ]


class Nothing:
    """Weights of a model, of which none is ever looked at.

    Args:
        saved: number of those in a checkpoint, of one that the model has.
    """

    def __init__(self, saved: int = 1, here: int = 1) -> None:
        self._saved, self._here = saved, here

    def layout(self) -> list[tuple[str, torch.dtype, tuple[int, ...]]]:
        return [("w", torch.float32, (1,))] * self._here

    def __iter__(self) -> Iterator[tuple[str, Tensor]]:
        return iter(())

    def as_saved(self) -> Nothing:
        return Nothing(self._saved, self._saved)


def engine_around(llm: FakeLlm, *, on_gpu: bool) -> VllmEngine:
    """An engine in process around it, made without vLLM."""
    engine = VllmEngine.__new__(VllmEngine)
    parts: dict[str, Any] = {
        "_llm": llm,
        "_adapter": None,
        "_on_gpu": on_gpu,
        "_in_flight": False,
        "_calls": Lock(),
        "_in_process": True,
        "_lighter": [],
        "_death": (),
        "_memory": MemoryPeak(torch.device("cpu")),
        "_sampling": Request(),
        "_encoder": SimpleNamespace(
            thought_budget=None,
            encode=lambda prompt: [1, 2],
            decode=lambda ids: "x",
            split=lambda *parts: None,
        ),
        "_sleep": Sleep(llm, cast(Any, llm), ever=on_gpu),
    }
    for name, part in parts.items():
        setattr(engine, name, part)
    return engine


@pytest.mark.parametrize("on_gpu", [True, False])
def test_every_request_on_a_gpu_carries_a_seed_of_its_own_and_none_elsewhere(on_gpu: bool) -> None:
    llm = FakeLlm()
    engine = engine_around(llm, on_gpu=on_gpu)
    engine.load_weights(Nothing(), 0)
    drawn = []
    for seed in (1, 1, 2):
        llm.seeds.clear()
        engine.generate([make_prompt("a"), make_prompt("b")], 4, seed)
        drawn.append(list(llm.seeds))
    if not on_gpu:
        assert drawn == [[None] * 8] * 3
        return
    assert None not in drawn[0]
    assert len(set(drawn[0] + drawn[2])) == 16
    assert drawn[0] == drawn[1]


def test_an_engine_wakes_for_a_rollout_and_sleeps_when_it_is_made() -> None:
    llm = FakeLlm()
    engine = engine_around(llm, on_gpu=True)
    engine.load_weights(Nothing(), 0)
    rollout = engine.generate([make_prompt()], 2, seed=1)
    assert [sample.policy_version for sample in rollout.samples] == [0, 0]
    assert llm.events == [
        *("sleep", "wake weights", "send", "version 0"),
        *("wake kv_cache", "forget", "step", "sleep"),
    ]


def test_experts_are_refused_before_an_engine_is_given_them() -> None:
    llm = FakeLlm()
    engine = engine_around(llm, on_gpu=True)
    with pytest.raises(EngineError, match="mixture of experts"):
        engine.load_weights(Nothing(saved=8), 0)
    assert llm.events == ["sleep"]
