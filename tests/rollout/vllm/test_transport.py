"""Weights on their way through shared memory."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor

from rvpo.errors import EngineError
from rvpo.rollout.vllm.transports import native, shared
from rvpo.rollout.vllm.transports.handed import HandedSender
from rvpo.rollout.vllm.transports.shared import SharedMemory


class Some:
    """Weights of two tensors, said to be as large as wanted."""

    def __init__(self, elements: int = 4) -> None:
        self._elements = elements

    def layout(self) -> list[tuple[str, torch.dtype, tuple[int, ...]]]:
        return [("a", torch.float32, (self._elements,)), ("b", torch.float32, (1,))]

    def as_saved(self) -> Some:
        return self

    def __iter__(self) -> Iterator[tuple[str, Tensor]]:
        yield from [("a", torch.ones(4)), ("b", torch.zeros(1))]


class FakeLlm:
    def __init__(self) -> None:
        self.seen: dict[str, Tensor] = {}

    def collective_rpc(self, method: str, kwargs: dict[str, Any]) -> None:
        assert method == "reload_weights"
        self.folder = Path(kwargs["weights_path"])
        self.seen = load_file(self.folder / "model.safetensors")


def test_the_engine_finds_a_checkpoint_that_is_gone_afterwards(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text("{}")
    llm = FakeLlm()
    SharedMemory(llm, tmp_path).send(Some())
    assert set(llm.seen) == {"a", "b"}
    assert not llm.folder.exists()


def test_weights_larger_than_every_folder_are_a_sentence(tmp_path: Path) -> None:
    with pytest.raises(EngineError, match=r"4000000\.0 GB on their way to vLLM"):
        SharedMemory(FakeLlm(), tmp_path).send(Some(elements=10**15))


def test_what_a_killed_process_left_behind_is_removed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shared, "_SHARED", str(tmp_path))
    ended = subprocess.Popen([sys.executable, "-c", ""])
    ended.wait()
    left, used = (tmp_path / f"rvpo-weights-{pid}-x" for pid in (ended.pid, 1))
    left.mkdir()
    used.mkdir()
    SharedMemory(FakeLlm(), tmp_path)
    assert not left.exists()
    assert used.exists()


def test_a_transfer_that_hangs_ends_the_process_with_a_sentence() -> None:
    module = "rvpo.rollout.vllm.transports.native"
    hangs = f"from {module} import _or_end; import time\nwith _or_end(0.2): time.sleep(60)"
    done = subprocess.run([sys.executable, "-c", hangs], capture_output=True, text=True, timeout=50)
    assert done.returncode == 2
    assert done.stderr.endswith("is gone. Continue with --resume\n")


def test_a_transfer_that_ends_in_time_ends_nothing() -> None:
    with native._or_end(0.05):
        pass
    time.sleep(0.1)


class Raising:
    def __init__(self, error: Exception) -> None:
        self.error = error

    def collective_rpc(self, method: str, kwargs: dict[str, Any]) -> None:
        raise self.error


@pytest.mark.parametrize(
    "error",
    [
        RuntimeError("The size of tensor a (64) must match the size of tensor b (32)"),
        ValueError("There is no module or parameter named 'model.experts'"),
        KeyError("layers.0.mlp.experts.gate_up_proj"),
    ],
)
def test_a_model_whose_weights_vllm_does_not_take_is_a_sentence(error: Exception) -> None:
    with pytest.raises(EngineError, match=r"does not take .*rollout\.engine\.name=transformers"):
        HandedSender(Raising(error)).send(Some())


@pytest.mark.parametrize(
    "error",
    [
        EngineError("said already"),
        RuntimeError("CUDA out of memory. Tried to allocate 1.00 GiB."),
        torch.distributed.DistBackendError("NCCL error in: NCCLUtils.cpp:93, internal error"),
        RuntimeError("[/pytorch/third_party/gloo/gloo/pair.cc:1] Connection closed by peer"),
    ],
)
def test_what_fails_while_weights_are_gathered_is_told_by_others(error: Exception) -> None:
    with pytest.raises(type(error)) as raised:
        HandedSender(Raising(error)).send(Some())
    assert raised.value is error
