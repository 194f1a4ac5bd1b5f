"""The room for adapters in vLLM."""

from __future__ import annotations

import ast

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rvpo.rollout import ServersConfig, TransformersConfig, VllmConfig
from rvpo.rollout.engine_config import EngineConfig
from rvpo.rollout.lora_config import LoraConfig
from rvpo.rollout.vllm.adapter_room import RANKS, adapter_options, room
from rvpo.rollout.vllm.options import VLLM_OPTIONS
from tests.rollout.vllm.test_options import tree_of

SERVERS = ServersConfig(urls=("http://127.0.0.1:8000",))


def problem(engine: EngineConfig, rank: int = 16, *, width: int = 2, on_gpu: bool = True) -> str:
    return engine.adapter_problem(LoraConfig(rank=rank), width=width, on_gpu=on_gpu)


def test_the_ranks_are_those_that_vllm_has() -> None:
    (line,) = (
        node
        for node in tree_of("config/lora.py").body
        if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "MaxLoRARanks"
    )
    assert isinstance(line.value, ast.Subscript)
    assert ast.literal_eval(line.value.slice) == RANKS


@given(st.integers(1, RANKS[-1]))
def test_every_rank_has_the_smallest_room_that_holds_it(rank: int) -> None:
    assert room(rank) == min(each for each in RANKS if each >= rank)
    assert adapter_options(LoraConfig(rank=rank))["max_lora_rank"] == room(rank)


@pytest.mark.parametrize("engine", [VllmConfig(), SERVERS])
def test_what_vllm_could_not_compute_is_refused(engine: EngineConfig) -> None:
    assert problem(engine) == ""
    assert problem(engine, RANKS[-1], width=4, on_gpu=False) == ""
    assert "model.lora.rank: 513 is more than 512" in problem(engine, 513)
    assert "write model.precision=bf16" in problem(engine, width=4)


@pytest.mark.parametrize("transport", ["handed", "ipc", "nccl", "shared"])
def test_a_way_of_whole_weights_is_no_way_of_adapters(transport: str) -> None:
    engine = VllmConfig.model_validate({"transport": transport})
    assert f"{transport} is a way of whole weights" in problem(engine)


def test_transformers_takes_every_adapter() -> None:
    assert problem(TransformersConfig(), 4096, width=4) == ""


def test_options_of_adapters_point_to_their_settings() -> None:
    for name in (*adapter_options(LoraConfig()), "lora_dtype", "lora_target_modules"):
        assert "write model.lora" in VLLM_OPTIONS.refused[name]
