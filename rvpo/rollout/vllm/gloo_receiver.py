"""The receiving side of weights over gloo, in vLLM's workers.

vLLM imports this file where a server is started with the transfer; nothing else does.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from vllm.distributed.weight_transfer.base import (
    WeightTransferEngine,
    WeightTransferInitInfo,
    WeightTransferUpdateInfo,
)
from vllm.model_executor.model_loader.mtp_validation import disable_mtp_completeness_check
from vllm.model_executor.model_loader.reload import (
    finalize_layerwise_reload,
    initialize_layerwise_reload,
)

from rvpo.rollout.servers.weights.buckets import receive_buckets
from rvpo.rollout.servers.weights.gloo_group import GlooGroup, GroupPatience


@dataclass
class GlooInitInfo(WeightTransferInitInfo):
    """The body of `/init_weight_transfer_engine`: see `gloo_link.GlooLink`."""

    host: str
    port: int
    rank_offset: int
    """Rank of this server's first worker."""
    world_size: int
    bucket_bytes: int
    form_s: float
    silence_s: float


@dataclass
class GlooUpdateInfo(WeightTransferUpdateInfo):
    """The body of `/update_weights`: the weights to come, in order."""

    names: list[str]
    dtype_names: list[str]
    shapes: list[list[int]]


class GlooReceiver(WeightTransferEngine[GlooInitInfo, GlooUpdateInfo]):
    """One worker's side; see vLLM's `WeightTransferEngine`."""

    init_info_cls = GlooInitInfo
    update_info_cls = GlooUpdateInfo
    supports_draft_weight_update = False

    _group: GlooGroup | None = None
    _bucket_bytes = 0

    def init_transfer_engine(self, init_info: GlooInitInfo) -> None:
        """Join the group of the trainer and all servers."""
        self.shutdown()
        place = self.parallel_config
        own = place.data_parallel_index * place.world_size + place.rank
        self._bucket_bytes = init_info.bucket_bytes
        self._group = GlooGroup.join(
            init_info.host,
            init_info.port,
            init_info.rank_offset + own,
            init_info.world_size,
            GroupPatience(init_info.form_s, init_info.silence_s),
        )

    def start_weight_update(self) -> None:
        """Open the model for weights in the form of checkpoints."""
        initialize_layerwise_reload(self.model)

    def finish_weight_update(self) -> None:
        """Have the model compute with what came."""
        finalize_layerwise_reload(self.model, self.model_config)  # type: ignore[no-untyped-call]

    def update_weights(self, update_info: dict[str, Any]) -> None:
        """Receive all weights."""
        self.receive_weights(self.parse_update_info(update_info))
        if torch.accelerator.is_available():
            torch.accelerator.synchronize()

    def receive_weights(self, update_info: GlooUpdateInfo) -> None:
        """Load bucket after bucket. A worker that fails leaves, so that nobody waits for it.

        Raises:
            RuntimeError: there is no group, or a member of it is gone.
        """
        if self._group is None:
            raise RuntimeError("this server is in no group with the trainer")
        layout = [
            (name, getattr(torch, dtype), tuple(shape))
            for name, dtype, shape in zip(
                update_info.names, update_info.dtype_names, update_info.shapes, strict=True
            )
        ]
        load: Any = self.model.load_weights
        try:
            with disable_mtp_completeness_check():
                for bucket in receive_buckets(layout, self._bucket_bytes, self._group.broadcast):
                    load(bucket)
        except BaseException:
            self.shutdown()
            raise

    def shutdown(self) -> None:
        """Leave the group."""
        if self._group is not None:
            self._group.leave()
            self._group = None
