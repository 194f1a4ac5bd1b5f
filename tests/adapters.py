"""Adapters small enough for tests, as a trainer would send them."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from rvpo.rollout.lora_config import LoraConfig


class AdapterState:
    """Implements `Weights` of an adapter's matrices."""

    def __init__(self, state: Mapping[str, Tensor]) -> None:
        self._state = state

    def layout(self) -> list[tuple[str, torch.dtype, tuple[int, ...]]]:
        return [(name, tensor.dtype, tuple(tensor.shape)) for name, tensor in self]

    def as_saved(self) -> AdapterState:
        return self

    def walk(self) -> None:
        for _ in self:
            pass

    def __iter__(self) -> Iterator[tuple[str, Tensor]]:
        yield from self._state.items()


def make_state(
    layers: tuple[str, ...] = ("model.layers.0.self_attn.q_proj",), *, b: float = 0.5, rank: int = 2
) -> AdapterState:
    """An adapter of layers of 4 inputs and 3 outputs, with one number in all of B."""
    state: dict[str, Tensor] = {}
    for layer in layers:
        state[f"base_model.model.{layer}.lora_A.weight"] = torch.ones(rank, 4)
        state[f"base_model.model.{layer}.lora_B.weight"] = torch.full((3, rank), b)
    return AdapterState(state)


def adapted(
    model: Path,
    config: LoraConfig,
    b: float,
    *,
    dtype: torch.dtype = torch.float32,
    rename: Callable[[str], str] = str,
) -> tuple[Any, AdapterState]:
    """A model that PEFT has put an adapter into, with a B of such a size, and that adapter.

    Args:
        rename: applied to the names of its matrices.
    """
    import peft
    from transformers import AutoModelForCausalLM

    torch.manual_seed(0)
    targets = config.targets if isinstance(config.targets, str) else list(config.targets)
    alpha: Any = config.alpha
    found = peft.get_peft_model(
        AutoModelForCausalLM.from_pretrained(model, dtype=dtype),
        peft.LoraConfig(r=config.rank, lora_alpha=alpha, target_modules=targets),
        autocast_adapter_dtype=False,
    )
    for name, parameter in found.named_parameters():
        if "lora_B" in name:
            torch.nn.init.normal_(parameter, std=b)
    state = peft.get_peft_model_state_dict(found).items()
    return found.eval(), AdapterState({rename(name): value.clone() for name, value in state})
