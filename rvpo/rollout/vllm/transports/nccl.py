"""Weights from one GPU to another."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

from rvpo.rollout.vllm.site import Site
from rvpo.rollout.vllm.transports.native import Native
from rvpo.rollout.vllm.transports.transport import UNREAD, WeightSender, WeightTransport


class Nccl(WeightTransport):
    """vLLM's own transfer by NCCL, to a GPU that the engine has for itself."""

    name: Literal["nccl"] = "nccl"

    def reaches(self, site: Site) -> bool:
        """An engine on a GPU of its own."""
        return site.gpu == "own"

    def options(self) -> dict[str, Any]:
        """vLLM's name of the backend; no weights are read."""
        return {**UNREAD, "weight_transfer_config": {"backend": self.name}}

    def open(self, llm: Any, model: Path) -> WeightSender:
        """See `WeightTransport.open`."""
        from vllm.distributed.weight_transfer.nccl_engine import NCCLTrainerInitInfo

        from rvpo.runtime.port import free_port

        info = NCCLTrainerInitInfo(
            rank=0, master_address="127.0.0.1", master_port=free_port(), world_size=2
        )
        return Native(llm, info)
