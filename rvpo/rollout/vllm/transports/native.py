"""vLLM's own weight transfer, seen from the trainer that sends."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from math import prod
from typing import TYPE_CHECKING, Any

from rvpo.rollout.vllm.transports.transport import remote_call
from rvpo.rollout.vllm.watch import ANSWER_S
from rvpo.runtime.launch import say

if TYPE_CHECKING:
    from torch import Tensor

    from rvpo.rollout.engine import Weights


class Native:
    """Transport by vLLM's weight transfer: CUDA IPC on one GPU, NCCL between two, in buckets of
    1 GiB, or of the largest weight.

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
        """See `WeightSender.send`."""
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
    """The calls of vLLM's sender to the engine: its `VLLMWeightSyncClient`."""

    def __init__(self, llm: Any) -> None:
        self._llm = llm

    def init_weight_transfer_engine(self, init_info: dict[str, Any]) -> None:
        remote_call(self._llm, "init_weight_transfer_engine", init_info=init_info)

    def start_weight_update(self) -> None:
        remote_call(self._llm, "start_weight_update")

    def update_weights(self, update_info: Any) -> None:
        remote_call(self._llm, "update_weights", update_info=update_info)

    def finish_weight_update(self, weight_version: str | None = None) -> None:
        remote_call(self._llm, "finish_weight_update")


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
