"""The seeds of vLLM's requests."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from threading import Lock
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from rvpo.rollout.further import TurnRequest
from rvpo.rollout.vllm.engine import VllmEngine, request_seed
from rvpo.rollout.vllm.sleep import Sleep
from rvpo.runtime.device_memory import MemoryPeak
from rvpo.runtime.ignore import ignore
from rvpo.sampling import Sampling
from rvpo.types import Prompt
from tests.fakes import make_prompt


def request_seeds(seed: int, rows: int, turn: int = 0, *, on_gpu: bool) -> list[int | None]:
    requests = [TurnRequest(row, turn, make_prompt(), 8) for row in range(rows)]
    return [request_seed(seed, request, on_gpu=on_gpu) for request in requests]


def test_on_gpus_every_request_has_a_seed_of_its_own_that_follows_from_the_rollouts() -> None:
    seeds = request_seeds(7, 64, on_gpu=True)
    assert len(set(seeds)) == 64
    assert None not in seeds
    assert seeds == request_seeds(7, 64, on_gpu=True)
    assert seeds[:8] == request_seeds(7, 8, on_gpu=True)
    assert not set(seeds) & set(request_seeds(8, 64, on_gpu=True))


def test_every_turn_of_a_row_has_another_seed() -> None:
    seeds = [seed for turn in range(4) for seed in request_seeds(7, 64, turn, on_gpu=True)]
    assert len(set(seeds)) == 256
    assert seeds[64:128] == request_seeds(7, 64, 1, on_gpu=True)


def test_on_cpus_requests_leave_seeding_to_torch() -> None:
    assert request_seeds(7, 3, on_gpu=False) == [None] * 3
    assert request_seeds(7, 3, 1, on_gpu=False) == [None] * 3


@dataclass
class FakeParams:
    """The settings of a request, as `vllm.SamplingParams` has them."""

    temperature: float = 1.0
    max_tokens: int = 8
    seed: int | None = None

    def clone(self) -> FakeParams:
        return replace(self)


@dataclass
class FakeCore:
    """vLLM's engine in this process: it ends every request at once, and keeps what it was asked."""

    asked: dict[int, FakeParams] = field(default_factory=dict)
    waiting: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        scheduler = SimpleNamespace(kv_cache_manager=SimpleNamespace(usage=0.0), requests={})
        self.engine_core = SimpleNamespace(engine_core=SimpleNamespace(scheduler=scheduler))
        self.vllm_config = SimpleNamespace(cache_config=SimpleNamespace(kv_cache_size_tokens=64))

    def add_request(
        self,
        request_id: str,
        prompt: Mapping[str, Sequence[int]],
        params: FakeParams,
        lora_request: None,
    ) -> None:
        assert prompt == {"prompt_token_ids": [1, 2]}
        self.asked[int(request_id)] = params
        self.waiting.append(request_id)

    def has_unfinished_requests(self) -> bool:
        return bool(self.waiting)

    def step(self) -> list[SimpleNamespace]:
        completion = SimpleNamespace(
            finish_reason="stop",
            token_ids=(3,),
            logprobs=[{3: SimpleNamespace(logprob=-0.5)}],
            weight_versions=[SimpleNamespace(version="0", start=0, end=1)],
        )
        return [
            SimpleNamespace(
                finished=True,
                request_id=self.waiting.pop(),
                prompt_token_ids=(1, 2),
                outputs=[completion],
            )
        ]


class FakeEncoder:
    thought_budget = None

    def encode(self, prompt: Prompt) -> tuple[int, ...]:
        return (1, 2)

    def decode(self, ids: Sequence[int]) -> str:
        return "Answer: 3"

    def split(self, prompt_ids: Sequence[int], text: str, prefill: str) -> None:
        return None


def seeds_asked(seed: int, sampling: Sampling | None = None, *, on_gpu: bool) -> list[int | None]:
    """Seeds of the requests for 4 samples of each of 3 prompts, by row, as vLLM is asked."""
    core = FakeCore()
    llm: Any = SimpleNamespace(llm_engine=core, reset_prefix_cache=lambda: True, send=ignore)
    engine: Any = VllmEngine.__new__(VllmEngine)  # its start takes vLLM
    engine._llm, engine._encoder, engine._sampling = llm, FakeEncoder(), FakeParams()
    engine._adapter = None
    engine._on_gpu, engine._in_process, engine._death, engine._lighter = on_gpu, True, (), []
    engine._calls, engine._in_flight = Lock(), False
    engine._memory = MemoryPeak(torch.device("cpu"))
    engine._sleep = Sleep(llm, llm, ever=False)
    engine._sleep.receive("weights")
    engine.generate([make_prompt(f"p/{i}") for i in range(3)], 4, seed, sampling=sampling)
    return [core.asked[row].seed for row in range(12)]


@pytest.mark.parametrize("sampling", [None, Sampling(temperature=0.5, max_completion_tokens=2)])
def test_on_gpus_vllm_is_asked_with_another_seed_for_each_row_and_the_same_another_time(
    sampling: Sampling | None,
) -> None:
    seeds = seeds_asked(7, sampling, on_gpu=True)
    assert None not in seeds
    assert len(set(seeds)) == 12
    assert seeds_asked(7, sampling, on_gpu=True) == seeds
    assert not set(seeds_asked(8, sampling, on_gpu=True)) & set(seeds)


def test_on_cpus_vllm_is_asked_without_seeds() -> None:
    assert seeds_asked(7, on_gpu=False) == [None] * 12
