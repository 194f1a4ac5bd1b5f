"""Adam's two moments, which torch makes at the first update only."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor


def allocate_moments(zero: Any) -> None:
    """Make the moments of every flat fp32 partition, as they are before the first update.

    What looks for free memory afterwards, such as an engine that starts on the same GPU, finds as
    much as there will be.

    Args:
        zero: DeepSpeed's ZeRO-3 optimizer around torch's AdamW.
    """
    optimizer: torch.optim.AdamW = zero.optimizer
    for number, partition in enumerate(zero.fp32_partitioned_groups_flat):
        group = optimizer.param_groups[zero.sub_group_to_group_id[number]]
        optimizer.state[partition] = {
            "step": _no_steps(partition, fused=bool(group["fused"])),
            "exp_avg": torch.zeros_like(partition, requires_grad=False),
            "exp_avg_sq": torch.zeros_like(partition, requires_grad=False),
        }


def _no_steps(partition: Tensor, *, fused: bool) -> Tensor:
    """The fused kernel counts where the partition is, the others on the CPU."""
    device = partition.device if fused else torch.device("cpu")
    return torch.zeros((), dtype=torch.float32, device=device)
