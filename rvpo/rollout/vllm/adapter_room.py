"""The room that vLLM makes for an adapter, and the models that it takes adapters of."""

from __future__ import annotations

from typing import Any, Final

from rvpo.errors import ConfigError
from rvpo.model_files import reading_model
from rvpo.rollout.lora_config import LoraConfig

RANKS: Final = (1, 8, 16, 32, 64, 128, 256, 320, 512)
"""Ranks that vLLM makes room for (`MaxLoRARanks` of its settings). One between them has the next
larger room, and zeros in what it leaves of that."""
MERGED: Final = "write model.lora.sync=merged, by which engines get whole weights"


def room(rank: int) -> int:
    """Rank of the room for an adapter, of which vLLM sets memory aside for every linear layer."""
    return next((each for each in RANKS if each >= rank), RANKS[-1])


def adapter_options(config: LoraConfig) -> dict[str, Any]:
    """Options with which vLLM has room for one adapter. It reads the model that the adapter is of
    from its files."""
    return {"enable_lora": True, "max_loras": 1, "max_lora_rank": room(config.rank)}


def adapter_problem(config: LoraConfig, *, width: int, on_gpu: bool) -> str:
    """Reason that vLLM would take no such adapter; empty where it would.

    Args:
        width: bytes of a weight that computes.
        on_gpu: it computes on one, by kernels that know numbers of 16 bits alone.
    """
    if config.rank > RANKS[-1]:
        return (
            f"model.lora.rank: {config.rank} is more than {RANKS[-1]}, the largest of an adapter "
            f"in vLLM; make it smaller, or {MERGED}"
        )
    if on_gpu and width > 2:
        return (
            "model.precision: on GPUs vLLM computes adapters with numbers of 16 bits alone; write "
            f"model.precision=bf16, or {MERGED}"
        )
    return ""


def check_model(path: str, *, trust_remote_code: bool) -> None:
    """Refuse a model that vLLM has no adapters for, by the class that it has for it; nothing is
    read but the settings of the model.

    Args:
        path: its folder or Hub id.

    Raises:
        ConfigError: it is one. A model that vLLM does not know at all passes: its own words about
            that come when it starts.
    """
    from transformers import AutoConfig

    try:
        from vllm.model_executor.models import ModelRegistry, supports_lora
    except ImportError:
        return
    with reading_model(path):
        config = AutoConfig.from_pretrained(path, trust_remote_code=trust_remote_code)
    known = ModelRegistry.models
    name = next((each for each in config.architectures or () if each in known), None)
    if name is not None and not supports_lora(known[name].load_model_cls()):
        raise ConfigError(f"model.lora: vLLM takes no adapters of {name}; {MERGED}")
