"""A backend for vLLM's weight transfer within one process, where there is no GPU.

Everything but the way of the bytes is vLLM's own: what it does on GPUs by IPC or NCCL happens here
through a list that both sides hold.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

from torch import Tensor
from vllm.distributed.weight_transfer import (
    TrainerWeightTransferEngine,
    WeightTransferEngineFactory,
    WeightTransferTrainerFactory,
)
from vllm.distributed.weight_transfer.base import (
    TrainerInitInfo,
    WeightTransferInitInfo,
    WeightTransferUpdateInfo,
)
from vllm.distributed.weight_transfer.ipc_engine import IPCWeightTransferEngine

BACKEND = "in_process_for_tests"
UNDER_WAY: list[tuple[str, Tensor]] = []


@dataclass
class Init(WeightTransferInitInfo):
    pass


@dataclass
class Update(WeightTransferUpdateInfo):
    names: list[str]
    shapes: list[list[int]]


@dataclass
class Info(TrainerInitInfo):
    backend: ClassVar[str] = BACKEND


class Receiver(IPCWeightTransferEngine):
    init_info_cls = Init
    update_info_cls = Update

    def init_transfer_engine(self, init_info: Init) -> None:
        pass

    def update_weights(self, update_info: dict[str, Any]) -> None:
        told = self.parse_update_info(update_info)
        assert [(name, list(tensor.shape)) for name, tensor in UNDER_WAY] == list(
            zip(told.names, told.shapes, strict=True)
        )
        self.model.load_weights(UNDER_WAY)


class Sender(TrainerWeightTransferEngine):
    init_info_cls = Info

    @classmethod
    def trainer_init(cls, init_info: Info, *, client: Any, source: Any = None) -> Sender:
        client.init_weight_transfer_engine({})
        return cls(client=client, source=source)

    def send_weights(self) -> None:
        layout = self.source.metadata()
        UNDER_WAY[:] = list(self.source)
        self.client.start_weight_update()
        self.client.update_weights(
            {"names": [m.name for m in layout], "shapes": [list(m.shape) for m in layout]}
        )
        self.client.finish_weight_update()
        UNDER_WAY.clear()


def register() -> None:
    WeightTransferEngineFactory.register_engine(BACKEND, Receiver)
    WeightTransferTrainerFactory.register_engine(BACKEND, Sender)


def make_info() -> Info:
    return Info(rank=0)
