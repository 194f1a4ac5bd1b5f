"""Adapters on their way into vLLM, on a stand-in for it."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from safetensors.torch import load_file

from rvpo.errors import EngineError
from rvpo.rollout import VllmConfig
from rvpo.rollout.lora_config import LoraConfig
from rvpo.rollout.vllm.adapters import AdapterFiles, AdapterSender
from rvpo.rollout.vllm.placement import place
from tests.adapters import AdapterState, make_state
from tests.rollout.vllm.test_placement import rank

CONFIG = LoraConfig(rank=2, alpha=4)


@dataclass(frozen=True)
class Asked:
    """As vLLM's `LoRARequest`."""

    lora_name: str
    lora_int_id: int
    lora_path: str
    load_inplace: bool = False


class FakeLlm:
    """Reads what it is told to, or fails."""

    def __init__(self, error: Exception | None = None) -> None:
        self.error = error
        self.loaded: list[tuple[Asked, int]] = []
        self.llm_engine = self

    def add_lora(self, request: Asked) -> bool:
        if self.error is not None:
            raise self.error
        folder = Path(request.lora_path)
        assert request.load_inplace
        assert json.loads((folder / "adapter_config.json").read_text())["r"] == CONFIG.rank
        self.loaded.append((request, len(load_file(folder / "adapter_model.safetensors"))))
        return True


def sender(llm: FakeLlm, *, in_process: bool = True) -> AdapterSender:
    return AdapterSender(llm, Asked, CONFIG, "model", in_process=in_process)


@pytest.mark.parametrize("in_process", [True, False])
def test_the_engine_reads_a_folder_that_is_gone_afterwards(in_process: bool) -> None:
    llm = FakeLlm()
    sending = sender(llm, in_process=in_process)
    for _ in range(2):
        sending.send(make_state())
    (first, matrices), (second, _) = llm.loaded
    assert matrices == 2
    sending.check_effect(lambda request: [0.0 if request is None else -1.0])
    sending.send(make_state())
    assert not any(Path(request.lora_path).exists() for request, _ in llm.loaded)
    # The later takes the place of the earlier, whose cached prefixes are not taken for its own.
    assert first.load_inplace
    assert first.lora_int_id == second.lora_int_id
    assert first.lora_path != second.lora_path


def test_a_request_for_a_sample_has_nothing_read_again() -> None:
    llm = FakeLlm()
    sending = sender(llm)
    sending.send(make_state())
    asked, ((told, _),) = sending.request, llm.loaded
    assert not asked.load_inplace
    assert (asked.lora_int_id, asked.lora_path) == (told.lora_int_id, told.lora_path)


class EngineDeadError(Exception):
    """Named as vLLM's."""


@pytest.mark.parametrize("in_process", [True, False])
@pytest.mark.parametrize(
    ("error", "said"),
    [
        (ValueError("expected target modules in {'qkv_proj'} but got x"), "does not take the adap"),
        (RuntimeError("No free adapter slots."), r"does not take .* model\.lora\.sync=merged"),
    ],
)
def test_an_adapter_that_is_not_taken_is_a_sentence(
    error: Exception, said: str, in_process: bool
) -> None:
    with pytest.raises(EngineError, match=said):
        sender(FakeLlm(error), in_process=in_process).send(make_state())


def test_a_process_that_died_is_not_blamed_on_the_adapter() -> None:
    with pytest.raises(EngineError, match="its process is gone"):
        sender(FakeLlm(EngineDeadError()), in_process=False).send(make_state())


def test_memory_that_ran_out_is_not_blamed_on_the_adapter() -> None:
    error = RuntimeError("CUDA out of memory. Tried to allocate 1.00 GiB.")
    with pytest.raises(RuntimeError) as raised:
        sender(FakeLlm(error)).send(make_state())
    assert raised.value is error


@pytest.mark.parametrize("in_process", [True, False])
@pytest.mark.parametrize("b", [0.0, 1e-9, 0.5])
def test_a_probe_is_compared_once_and_the_policys_own_adapter_comes_back(
    b: float, in_process: bool
) -> None:
    llm = FakeLlm()
    sending = sender(llm, in_process=in_process)
    asked: list[Any] = []

    def bound(request: Any) -> list[float]:
        asked.append(request)
        if request is not None:  # vLLM has it, and still its files
            assert request.lora_path == llm.loaded[-1][0].lora_path
            assert Path(request.lora_path).is_dir()
        return [-1.0, -2.0 if request is None else -2.5]

    sending.send(make_state(b=b))
    sending.send(make_state(b=b))  # before anything is generated
    sending.check_effect(bound)
    own, (probe, matrices), back = llm.loaded[1:]
    assert own == back
    assert back[0].lora_path == sending.request.lora_path
    assert [request and request.lora_path for request in asked] == [probe.lora_path, None]
    assert matrices == 2
    assert probe.lora_int_id != sending.request.lora_int_id
    assert not any(Path(request.lora_path).exists() for request, _ in llm.loaded)
    sending.send(make_state())
    sending.check_effect(bound)
    assert len(asked) == 2
    assert len(llm.loaded) == 5


def test_an_adapter_that_is_bound_to_nothing_stops_the_run() -> None:
    llm = FakeLlm()
    sending = sender(llm)
    sending.send(make_state(b=0.0))
    with pytest.raises(EngineError, match="the same with an adapter and without"):
        sending.check_effect(lambda request: [-1.0, -2.0])
    assert not any(Path(request.lora_path).exists() for request, _ in llm.loaded)


def test_a_run_with_adapters_has_their_way_and_room() -> None:
    for concurrent in (False, True):
        found = place(VllmConfig(), rank(), concurrent=concurrent, adapter=CONFIG)
        in_process = not concurrent
        assert found.site.in_process is in_process
        assert found.transport == AdapterFiles(adapter=CONFIG, in_process=in_process)
    assert found.transport.options() == {"enable_lora": True, "max_loras": 1, "max_lora_rank": 8}


def test_nothing_is_sent_that_is_no_adapter() -> None:
    llm = FakeLlm()
    state = AdapterState({"model.norm.weight": next(iter(dict(make_state()).values()))})
    with pytest.raises(EngineError, match="no name of an adapter"):
        sender(llm).send(state)
    assert llm.loaded == []
