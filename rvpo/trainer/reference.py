"""The KL reference: the initial policy, which does not learn."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from torch import Tensor

from rvpo.trainer.adapters import adapters_off
from rvpo.trainer.batch import MicroBatch
from rvpo.trainer.scorer import score_without_gradient


def reference_logprobs(policy: Any, own: Any, batches: Sequence[MicroBatch]) -> list[Tensor]:
    """Score each micro-batch, [T], before any is trained on: DeepSpeed fetches weights ahead in an
    order that it has to see twice.

    Args:
        policy: the policy's engine, which is the reference while its adapters are off.
        own: an engine of the reference's own; None where the policy has adapters.
    """
    if own is not None:
        return [score_without_gradient(own, batch) for batch in batches]
    with adapters_off(policy.module.model):
        return [score_without_gradient(policy, batch) for batch in batches]
