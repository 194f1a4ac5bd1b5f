"""Weights by NCCL, from GPU to GPU: vLLM's own sender, to several servers at once."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager, closing, nullcontext
from typing import TYPE_CHECKING, Any, Final

import torch

from rvpo.rollout.servers.weights.buckets import Layout, largest
from rvpo.runtime.port import hold_port

if TYPE_CHECKING:
    from torch import Tensor

    from rvpo.rollout.servers.weights.fan_out import FanOut
    from rvpo.rollout.servers.weights.feed import Feed
    from rvpo.rollout.servers.weights.links import Sender

BUCKET_BYTES: Final = 256 * 2**20
"""Bytes that are sent at once, and of which two are in the GPU's memory; more where one weight is
larger."""


class NcclLink:
    """Implements `WeightLink`; the servers' side is vLLM's backend `nccl`.

    Args:
        device: rank 0's GPU.
    """

    def __init__(self, device: torch.device, bucket_bytes: int = BUCKET_BYTES) -> None:
        self._device = device
        self._bucket_bytes = bucket_bytes

    def connect(self, fan_out: FanOut, address: str, size: int, layout: Layout) -> Sender:
        """See `WeightLink.connect`."""
        from vllm.distributed.weight_transfer import WeightTransferTrainerFactory

        _use(self._device)
        source = _source(layout)
        with closing(hold_port(address)) as held:  # nobody else gets it until vLLM listens there
            info = self.info(address, held.getsockname()[1], size, layout)
            engine = WeightTransferTrainerFactory.trainer_init(info, client=fan_out, source=source)
        return NcclSender(engine, source, self._device)

    def info(self, address: str, port: int, size: int, layout: Layout) -> Any:
        """The `NCCLTrainerInitInfo` that vLLM's sender is formed from."""
        from vllm.distributed.weight_transfer.nccl_engine import NCCLTrainerInitInfo

        return NCCLTrainerInitInfo(
            rank=0,
            master_address=address,
            master_port=port,
            world_size=size,
            # vLLM views the bytes of a bucket as numbers, which have to begin at multiples of their
            # size: with several sizes in one bucket they would not.
            packed=len({dtype.itemsize for _, dtype, _ in layout}) == 1,
            packed_buffer_size_bytes=max(self._bucket_bytes, largest(layout)),
        )


class NcclSender:
    """Implements `Sender`.

    Args:
        engine: vLLM's `NCCLTrainerWeightTransferEngine`.
        source: its source, as `NcclLink` makes it.
    """

    def __init__(self, engine: Any, source: Any, device: torch.device) -> None:
        self._engine = engine
        self._source = source
        self._device = device

    def send(self, feed: Feed) -> None:
        """See `Sender.send`."""
        self._source.feed = feed
        # In the stream that all threads have in common the thread that gathers would wait for an
        # exchange that hangs.
        with _own_stream(self._device):
            self._engine.send_weights()

    def close(self) -> None:
        """See `Sender.close`."""
        self._engine.shutdown()


def _use(device: torch.device) -> None:
    """Have this thread work with a GPU; a new one begins with the first."""
    if device.type == "cuda":
        torch.cuda.set_device(device)


def _own_stream(device: torch.device) -> AbstractContextManager[object]:
    _use(device)
    if device.type != "cuda":
        return nullcontext()
    return torch.cuda.stream(torch.cuda.Stream(device))  # type: ignore[no-untyped-call]


def _source(layout: Layout) -> Any:
    """vLLM's `WeightSource` of the weights that a feed hands over."""
    from vllm.distributed.weight_transfer import ParamMeta, WeightSource

    class FedWeights(WeightSource):
        feed: Feed

        def metadata(self) -> list[Any]:
            return [ParamMeta(*each) for each in layout]

        def __iter__(self) -> Iterator[tuple[str, Tensor]]:
            for name, weight in self.feed:
                if weight.is_cuda:  # it was made in another thread's stream, and is used in this
                    weight.record_stream(torch.cuda.current_stream())
                yield name, weight

    return FedWeights()
