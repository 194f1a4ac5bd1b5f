"""The one interface the loop knows of the model under training."""

from __future__ import annotations

from pathlib import Path
from typing import Protocol

from rvpo.rollout.engine import Weights
from rvpo.types import Advantages, Rollout


class Policy(Protocol):
    """A model that learns from samples and their advantages."""

    @property
    def checkpoint_bytes(self) -> int:
        """Disk space of one checkpoint over all ranks."""
        ...

    def update(self, rollout: Rollout, advantages: Advantages) -> dict[str, float]:
        """One optimizer step on this rank's samples; returns metrics over all ranks.

        Raises:
            UpdateError: the loss or gradient is not finite. The weights have not moved.
        """
        ...

    def weights(self) -> Weights:
        """The weights as they are."""
        ...

    def save(self, folder: Path) -> None:
        """Write everything an exact continuation needs; all ranks together.

        Raises:
            CheckpointError: the disk refused it.
        """
        ...

    def load(self, folder: Path) -> None:
        """Continue from what `save` wrote, on any number of ranks."""
        ...
