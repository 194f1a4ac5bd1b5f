"""The learning rate as a pure function of the step, so that resuming needs no state."""

from __future__ import annotations

import math

from rvpo.config.update import UpdateConfig


def learning_rate(config: UpdateConfig, step: int, total_steps: int) -> float:
    """Learning rate of optimizer update `step` = 0 … total_steps − 1."""
    warmup = round(config.warmup_fraction * total_steps)
    if step < warmup:
        return config.lr * (step + 1) / (warmup + 1)
    progress = (step - warmup) / max(1, total_steps - warmup)
    match config.schedule:
        case "constant":
            return config.lr
        case "linear":
            return config.lr * (1 - progress)
        case "cosine":
            return config.lr * (1 + math.cos(math.pi * progress)) / 2
