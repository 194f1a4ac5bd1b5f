"""Optimizers of a policy update: each one file.

A new one is a file with a subclass of `Optimizer`, an instance of it in `OPTIMIZERS` below, and its
name among those that `update.optimizer` takes, in `rvpo.config.update`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from rvpo.trainer.optimizers.adamw import AdamW
from rvpo.trainer.optimizers.adamw_8bit import AdamW8bit
from rvpo.trainer.optimizers.cpu_adam import CPUAdam
from rvpo.trainer.optimizers.optimizer import Optimizer

OPTIMIZERS: Final[Mapping[str, Optimizer]] = {
    "adamw": AdamW(),
    "adamw_8bit": AdamW8bit(),
    "cpu_adam": CPUAdam(),
}
"""Those that `update.optimizer` may choose, by name."""

__all__ = ["OPTIMIZERS", "AdamW", "AdamW8bit", "CPUAdam", "Optimizer"]
