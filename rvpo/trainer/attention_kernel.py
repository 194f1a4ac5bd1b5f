"""The kernels that torch has for attention on a device, as the update will call them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

import torch
from torch.backends.cuda import can_use_efficient_attention, can_use_flash_attention
from torch.nn.attention import SDPBackend

from rvpo.trainer.attention import asked

_NAMES: Final = {
    SDPBackend.FLASH_ATTENTION: "flash",
    SDPBackend.EFFICIENT_ATTENTION: "efficient",
    SDPBackend.CUDNN_ATTENTION: "cudnn",
    SDPBackend.MATH: "math",
}


@dataclass(frozen=True, slots=True)
class Head:
    """The shape of a model's attention."""

    size: int
    """Elements of a head."""
    queries: int
    """Query heads."""
    keys: int
    """Heads of keys and values."""


USUAL: Final = Head(size=128, queries=32, keys=8)
"""The heads of most models of 7B to 32B parameters."""


def head_of(config: Any) -> Head | None:
    """The attention of a model; None where its layers have none, or not all the same.

    Args:
        config: transformers', of its text.
    """
    queries = getattr(config, "num_attention_heads", None)
    keys = getattr(config, "num_key_value_heads", None) or queries
    size = getattr(config, "head_dim", None)
    if size is None and isinstance(queries, int):
        size = config.hidden_size // queries
    if isinstance(queries, int) and isinstance(keys, int) and isinstance(size, int):
        return Head(size=size, queries=queries, keys=keys)
    return None


def attention_kernels(head: Head, dtype: torch.dtype, device: torch.device) -> str:
    """Names of the kernels of a prompt and of the completions beside it."""
    prompt = _kernel(head, dtype, device, 16)
    beside = _kernel(head, dtype, device, 8)
    return prompt if prompt == beside else f"{prompt}, beside prompts {beside}"


def _kernel(head: Head, dtype: torch.dtype, device: torch.device, queries: int) -> str:
    """The kernel of queries at the end of 16 keys."""

    def empty(heads: int, length: int) -> torch.Tensor:
        return torch.empty(1, heads, length, head.size, dtype=dtype, device=device)

    query, key = empty(head.queries, queries), empty(head.keys, 16)
    if device.type == "cuda":
        if not can_use_flash_attention(asked(query, key, key)):
            key = empty(head.queries, 16)  # see `trainer.attention`: its groups are spread out
        elif queries < 16:  # torch asks no further there, see `torch.nn.attention.bias`
            return "flash"
        if queries < 16 and can_use_efficient_attention(asked(query, key, key)):
            return "efficient"
    # Elsewhere what is visible is a mask.
    mask = None if queries == 16 else torch.ones(queries, 16, dtype=torch.bool, device=device)
    grouped = query.shape[1] != key.shape[1]
    choice = torch._fused_sdp_choice(
        query, key, key, attn_mask=mask, is_causal=mask is None, enable_gqa=grouped
    )
    return _NAMES.get(SDPBackend(choice), str(choice))
