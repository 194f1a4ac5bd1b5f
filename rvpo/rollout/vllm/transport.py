"""The ways of the policy's weights into a vLLM engine, each on vLLM's own calls."""

from __future__ import annotations

import os
import shutil
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from math import prod
from pathlib import Path
from typing import Any, Final, Protocol

from torch import Tensor

from rvpo.errors import EngineError
from rvpo.rollout.engine import Weights
from rvpo.rollout.vllm.placement import Placement
from rvpo.rollout.vllm.watch import ANSWER_S, answer
from rvpo.runtime.launch import say
from rvpo.runtime.port import free_port

_SHARED: Final = "/dev/shm"
_FOLDER: Final = "rvpo-weights-"
"""Followed by the process that made it, so that what a killed one left behind is known."""


class WeightTransport(Protocol):
    """One way into one engine."""

    def send(self, weights: Weights) -> None:
        """Replace all weights of the engine.

        Raises:
            EngineError: the engine failed, or did not answer in time.
        """
        ...


def transport(placement: Placement, llm: Any, model: Path) -> WeightTransport:
    """The way to an engine.

    Args:
        llm: a vLLM `LLM`, started with `settings(placement)`.
        model: folder of the initial model.
    """
    match placement.way:
        case "handed":
            return Handed(llm)
        case "shared":
            return SharedMemory(llm, model)
        case "ipc":
            return Native(llm, _ipc())
        case "nccl":
            return Native(llm, _nccl())


def settings(placement: Placement) -> dict[str, Any]:
    """Settings that vLLM must be given when it starts."""
    if placement.way == "ipc":
        # Handles of GPU memory go from this process to the engine that it started as pickles.
        os.environ["VLLM_ALLOW_INSECURE_SERIALIZATION"] = "1"
    if placement.way in ("ipc", "nccl"):
        return {"weight_transfer_config": {"backend": placement.way}}
    return {}


class Handed:
    """Transport within this process, tensor by tensor."""

    def __init__(self, llm: Any) -> None:
        self._llm = llm

    def send(self, weights: Weights) -> None:
        """See `WeightTransport.send`."""
        self._llm.collective_rpc("reload_weights", kwargs={"weights_iterator": iter(weights)})


class SharedMemory:
    """Transport to another process of this machine, as a checkpoint in shared memory: vLLM hands
    tensors over between processes on GPUs only."""

    def __init__(self, llm: Any, model: Path) -> None:
        self._llm = llm
        self._model = model
        _sweep()

    def send(self, weights: Weights) -> None:
        """See `WeightTransport.send`."""
        with _checkpoint(weights, self._model) as folder:
            _call(self._llm, "reload_weights", weights_path=str(folder))


class Native:
    """Transport by vLLM's weight transfer: CUDA IPC on one GPU, NCCL between two, in buckets of 1
    GiB, or of the largest weight.

    Each rank sends to its own engine alone, as the only trainer that this engine knows.

    Args:
        info: a `TrainerInitInfo` of vLLM's, which names the backend.
    """

    def __init__(self, llm: Any, info: Any) -> None:
        self._calls = _Calls(llm)
        self._info = info
        self._source: Any = None
        self._sender: Any = None

    def send(self, weights: Weights) -> None:
        """See `WeightTransport.send`."""
        if self._sender is None:
            self._connect(weights)
        self._source.weights = weights
        with _or_end(2 * ANSWER_S):
            self._sender.send_weights()

    def _connect(self, weights: Weights) -> None:
        from vllm.distributed.weight_transfer import (
            ParamMeta,
            WeightSource,
            WeightTransferTrainerFactory,
        )

        class NewestWeights(WeightSource):
            """The newest weights."""

            weights: Weights

            def metadata(self) -> list[Any]:
                return [ParamMeta(*each) for each in self.weights.layout()]

            def __iter__(self) -> Iterator[tuple[str, Tensor]]:
                return iter(self.weights)

        if hasattr(self._info, "packed_buffer_size_bytes"):
            largest = max(dtype.itemsize * prod(shape) for _, dtype, shape in weights.layout())
            bucket = max(largest, self._info.packed_buffer_size_bytes)
            self._info = replace(self._info, packed_buffer_size_bytes=bucket)
        self._source = NewestWeights()
        self._sender = WeightTransferTrainerFactory.trainer_init(
            self._info, client=self._calls, source=self._source
        )


class _Calls:
    """Calls that vLLM's sender makes to the engine: its `VLLMWeightSyncClient`."""

    def __init__(self, llm: Any) -> None:
        self._llm = llm

    def init_weight_transfer_engine(self, init_info: dict[str, Any]) -> None:
        _call(self._llm, "init_weight_transfer_engine", init_info=init_info)

    def start_weight_update(self) -> None:
        _call(self._llm, "start_weight_update")

    def update_weights(self, update_info: Any) -> None:
        _call(self._llm, "update_weights", update_info=update_info)

    def finish_weight_update(self, weight_version: str | None = None) -> None:
        _call(self._llm, "finish_weight_update")


def _call(llm: Any, method: str, **arguments: Any) -> None:
    answer(lambda: llm.collective_rpc(method, kwargs=arguments), "taking new weights")


@contextmanager
def _or_end(seconds: float) -> Iterator[None]:
    """End this process with a sentence if what is done meanwhile takes longer: where NCCL waits for
    a lost partner, no exception gets through."""

    def end() -> None:
        say(
            f"rvpo: new weights did not reach vLLM within {seconds:.0f} s; its process hangs or is "
            "gone. Continue with --resume"
        )
        os._exit(2)

    timer = threading.Timer(seconds, end)
    timer.daemon = True
    timer.start()
    try:
        yield
    finally:
        timer.cancel()


def _ipc() -> Any:
    from vllm.distributed.weight_transfer.ipc_engine import IPCTrainerInitInfo

    return IPCTrainerInitInfo(rank=0, packed=True)


def _nccl() -> Any:
    from vllm.distributed.weight_transfer.nccl_engine import NCCLTrainerInitInfo

    return NCCLTrainerInitInfo(
        rank=0, master_address="127.0.0.1", master_port=free_port(), world_size=2
    )


@contextmanager
def _checkpoint(weights: Weights, model: Path) -> Iterator[Path]:
    """A checkpoint folder in shared memory, gone afterwards."""
    from safetensors.torch import save_file

    size = sum(dtype.itemsize * prod(shape) for _, dtype, shape in weights.layout())
    folder = Path(tempfile.mkdtemp(prefix=f"{_FOLDER}{os.getpid()}-", dir=_roomy(size)))
    try:
        state = {name: tensor.cpu() for name, tensor in weights}
        save_file(state, folder / "model.safetensors")
        for name in ("config.json", "generation_config.json"):
            if (model / name).exists():
                shutil.copy(model / name, folder / name)
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _roomy(size: int) -> str:
    """A folder with room for so many bytes, best one in shared memory.

    Raises:
        EngineError: there is none.
    """
    for folder in (_SHARED, tempfile.gettempdir()):
        if os.path.isdir(folder) and shutil.disk_usage(folder).free > 1.05 * size:
            return folder
    raise EngineError(
        f"the weights take {size / 1e9:.1f} GB on their way to vLLM, and neither {_SHARED} nor "
        f"{tempfile.gettempdir()} has room for them; free some, give a container more shared "
        "memory, or set TMPDIR. Then continue with --resume"
    )


def _sweep() -> None:
    """Remove what processes left behind that were killed while they sent weights."""
    for parent in {_SHARED, tempfile.gettempdir()}:
        for folder in Path(parent).glob(f"{_FOLDER}*"):
            owner = folder.name.removeprefix(_FOLDER).partition("-")[0]
            if owner.isdigit() and not Path("/proc", owner).exists():
                shutil.rmtree(folder, ignore_errors=True)
