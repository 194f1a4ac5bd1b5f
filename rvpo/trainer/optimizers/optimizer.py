"""The interface of an optimizer that moves the flat fp32 partitions of ZeRO-3."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from typing import Any, ClassVar, Final

import torch
from torch import Tensor

from rvpo.config.update import UpdateConfig

ParameterGroups = Sequence[dict[str, Any]]
"""ParameterGroups of parameters, each with its `params` and `weight_decay`, as torch takes them."""

PartitionState = Mapping[str, Any]
"""A partition's state: its fp32 weights under `WEIGHTS`, and what the optimizer keeps of them."""

WEIGHTS: Final = "fp32"
"""Name of a partition's weights, beside those that an optimizer gives its moments."""


class Optimizer(ABC):
    """A kind of optimizer. Its instances hold nothing: all state is in what `build` gives."""

    moment_bytes: ClassVar[float] = 8.0
    """Bytes of the two moments of a weight."""

    def lack(self) -> str | None:
        """A sentence on what it needs and this machine has not, with what to do; None where all is
        there. Takes no time."""
        return None

    def prepare(self, say: Callable[[str], None]) -> None:
        """Make what it needs, before any model is loaded.

        Args:
            say: told what is made, where that takes long.

        Raises:
            ConfigError: it cannot be made. It says why, and what to write instead.
        """
        return

    @abstractmethod
    def build(self, groups: ParameterGroups, update: UpdateConfig) -> torch.optim.Optimizer:
        """The optimizer, with no state yet."""

    @abstractmethod
    def allocate(self, optimizer: Any, group: int, partition: Tensor) -> None:
        """Make the state of a partition, as it is before the first update.

        Args:
            optimizer: one that `build` gave.
            group: index of the partition's group.
            partition: [n] fp32 weights.
        """

    def cut(self, state: PartitionState, part: slice) -> dict[str, Tensor]:
        """The weights and moments of a part of a partition, each a tensor with one element for a
        weight, so that parts can be laid end to end in any other partition.

        Args:
            state: a partition's.
            part: elements of the partition.
        """
        shape = state[WEIGHTS].shape
        return {
            name: value[part]
            for name, value in state.items()
            if isinstance(value, Tensor) and value.shape == shape
        }

    def joined(self, parts: Mapping[str, Tensor], example: PartitionState) -> dict[str, Any]:
        """The state of a partition that was laid together of parts.

        Args:
            parts: whole tensors, by the names that `cut` gives.
            example: another partition's state, for what all have in common.
        """
        return {**example, **parts}
