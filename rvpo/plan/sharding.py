"""DeepSpeed's settings that decide the memory of a rank."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from rvpo.config.update import UpdateConfig


@dataclass(frozen=True, slots=True, kw_only=True)
class Sharding:
    """Sizes of ZeRO-3 in elements, by default those of DeepSpeed."""

    live: int
    """Weights that are gathered at the same time."""
    reduced: int
    """Gradients that are reduced at the same time."""
    step: int
    """Weights of a shard that the optimizer moves at the same time."""
    ranks: int
    """Ranks that have all weights among them once more, so that gathering stays within a machine;
    1 where they have not."""
    on_host: bool
    """The shards of the weights are in host memory."""

    @classmethod
    def of(cls, update: UpdateConfig) -> Sharding:
        """The sizes that a run's own `update.deepspeed` leads to."""
        zero = update.deepspeed.get("zero_optimization") or {}
        offload = zero.get("offload_param") or {}
        return cls(
            live=_elements(zero, "stage3_max_live_parameters", 1_000_000_000),
            reduced=_elements(zero, "reduce_bucket_size", 500_000_000),
            step=_elements(zero, "sub_group_size", 1_000_000_000),
            ranks=_elements(zero, "zero_hpz_partition_size", 1),
            on_host=offload.get("device") == "cpu",
        )


def _elements(zero: Mapping[str, Any], name: str, usual: int) -> int:
    value = zero.get(name)
    return usual if value is None else int(value)
