"""A base model whose linear layers keep weights of 4 bits while adapters are trained.

QLoRA, Dettmers et al. 2023, arXiv:2305.14314: blocks of 64 weights, each one of 16 numbers (NF4)
times a scale, which is quantised too. The weights are unpacked layer by layer to compute with. They
lie in tensors of the model's own type, several in a number, because ZeRO-3 shards, gathers and
casts weights of one type.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from rvpo.config.model import ModelConfig


def quantisation(model: ModelConfig) -> Any:
    """Settings of transformers' for the base model; None where it is not quantised."""
    if model.base_bits is None:
        return None
    from transformers import BitsAndBytesConfig

    settings: Any = BitsAndBytesConfig
    return settings(
        load_in_4bit=True,
        bnb_4bit_quant_type="nf4",
        bnb_4bit_use_double_quant=True,
        bnb_4bit_compute_dtype=model.dtype,
        bnb_4bit_quant_storage=model.dtype,
    )


def settle(model: Any) -> None:
    """Have a quantised model be sharded and saved as any other, its weights unpacked.

    On some CPUs its layers would lay their weights out anew when they compute without gradients,
    and find them in the old order once ZeRO-3 has gathered them again. Their scales follow from
    the files of the model, and are not for a checkpoint.
    """
    quantizer = getattr(model, "hf_quantizer", None)
    if quantizer is None:
        return
    quantizer.remove_quantization_config(model)
    for module in model.modules():
        if hasattr(module, "support_avx512bf16_for_cpu"):
            module.support_avx512bf16_for_cpu = False
            module.register_state_dict_post_hook(_without_scales)


def _without_scales(_: Any, state: dict[str, Any], prefix: str, __: Any) -> None:
    for name in [name for name in state if name.startswith(f"{prefix}weight.")]:
        del state[name]


def whole_shape(weight: Any) -> tuple[int, ...]:
    """Shape of a weight that may be sharded or quantised, as it is whole and unpacked."""
    state = getattr(weight, "quant_state", None)
    if state is not None:
        return tuple(state.shape)
    return tuple(getattr(weight, "ds_shape", weight.shape))


def unpacked(weight: Any) -> Tensor:
    """A copy of a weight that is whole, in the type that computes.

    Args:
        weight: a whole one; if it is sharded, gathered.
    """
    state = getattr(weight, "quant_state", None)
    if state is None:
        copy: Tensor = weight.data.clone()
        return copy
    from bitsandbytes.functional import dequantize_4bit

    with torch.no_grad():
        found: Tensor = dequantize_4bit(weight.data, state)
    return found.to(weight.dtype)
