"""An optimizer's moments, which libraries make at the first update only."""

from __future__ import annotations

from typing import Any

from rvpo.trainer.optimizers import Optimizer


def allocate_moments(zero: Any, kind: Optimizer) -> None:
    """Make the moments of every flat fp32 partition, as they are before the first update.

    What looks for free memory afterwards, such as an engine that starts on the same GPU, finds as
    much as there will be.

    Args:
        zero: DeepSpeed's ZeRO-3 optimizer around one of this kind.
    """
    for number, partition in enumerate(zero.fp32_partitioned_groups_flat):
        kind.allocate(zero.optimizer, zero.sub_group_to_group_id[number], partition)
