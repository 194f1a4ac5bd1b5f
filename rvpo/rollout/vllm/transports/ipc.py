"""Weights through the memory of a GPU that two processes share."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any, Literal

from rvpo.rollout.vllm.site import Site
from rvpo.rollout.vllm.transports.native import Native
from rvpo.rollout.vllm.transports.transport import UNREAD, WeightSender, WeightTransport


class Ipc(WeightTransport):
    """vLLM's own transfer by CUDA IPC, to another process on the same GPU."""

    name: Literal["ipc"] = "ipc"

    def reaches(self, site: Site) -> bool:
        """An engine in a process of its own, on the trainer's GPU."""
        return site.gpu == "shared" and not site.in_process

    def options(self) -> dict[str, Any]:
        """vLLM's name of the backend; no weights are read."""
        # Handles of GPU memory go from this process to the engine that it started as pickles.
        os.environ["VLLM_ALLOW_INSECURE_SERIALIZATION"] = "1"
        return {**UNREAD, "weight_transfer_config": {"backend": self.name}}

    def open(self, llm: Any, model: Path) -> WeightSender:
        """See `WeightTransport.open`."""
        from vllm.distributed.weight_transfer.ipc_engine import IPCTrainerInitInfo

        return Native(llm, IPCTrainerInitInfo(rank=0, packed=True))
