"""The name under which vLLM knows the transfer of weights over gloo."""

from __future__ import annotations

from contextlib import suppress
from typing import Final

GLOO: Final = "rvpo_gloo"
_RECEIVER: Final = ("rvpo.rollout.vllm.gloo_receiver", "GlooReceiver")


def register_receiver() -> None:
    """Have vLLM know it in this process; a second call does nothing."""
    from vllm.distributed.weight_transfer.factory import WeightTransferEngineFactory

    with suppress(ValueError):  # it is known already
        WeightTransferEngineFactory.register_engine(GLOO, *_RECEIVER)
