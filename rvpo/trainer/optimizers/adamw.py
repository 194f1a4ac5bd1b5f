"""AdamW, by torch's fused kernel."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from rvpo.config.update import UpdateConfig
from rvpo.trainer.optimizers.optimizer import Optimizer, ParameterGroups


class AdamW(Optimizer):
    """AdamW with two moments in fp32 (Loshchilov & Hutter 2019, arXiv:1711.05101)."""

    def build(self, groups: ParameterGroups, update: UpdateConfig) -> torch.optim.Optimizer:
        """See `Optimizer.build`."""
        return torch.optim.AdamW(
            groups,
            lr=update.lr,
            betas=update.betas,
            fused=True,  # on CPUs too, where an offloaded state is
        )

    def allocate(self, optimizer: Any, group: int, partition: Tensor) -> None:
        """See `Optimizer.allocate`."""
        # The fused kernel counts where the partition is, the others on the CPU.
        fused = bool(optimizer.param_groups[group]["fused"])
        device = partition.device if fused else torch.device("cpu")
        optimizer.state[partition] = {
            "step": torch.zeros((), dtype=torch.float32, device=device),
            "exp_avg": torch.zeros_like(partition, requires_grad=False),
            "exp_avg_sq": torch.zeros_like(partition, requires_grad=False),
        }
