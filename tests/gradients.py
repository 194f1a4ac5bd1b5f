"""The gradient of an update, looked at before anything moves."""

from __future__ import annotations

import torch
from deepspeed.utils import safe_get_full_grad

from rvpo.runtime.ranks import Ranks
from rvpo.trainer.zero_policy import ZeroPolicy
from rvpo.types import Advantages, Rollout


def accumulate(
    policy: ZeroPolicy, rollout: Rollout, advantages: Advantages, ranks: Ranks
) -> dict[str, float]:
    """Leave the gradient of a single update in the engine; the metrics."""
    statistics = policy.statistics()
    (batches,) = policy.mini_batches(rollout, advantages)
    policy.accumulate_gradients(batches, statistics)
    return statistics.metrics(ranks)


def gradients(policy: ZeroPolicy) -> dict[str, torch.Tensor]:
    """Of every weight, whole."""
    named = policy.model.named_parameters()
    return {name: safe_get_full_grad(parameter).clone() for name, parameter in named}
