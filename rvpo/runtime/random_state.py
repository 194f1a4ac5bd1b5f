"""The random generators of one process, as plain values."""

from __future__ import annotations

import random
from typing import Any

import numpy as np
import torch


def random_state() -> dict[str, Any]:
    """Random state of Python, NumPy, PyTorch and every visible GPU: tensors and plain values
    alone."""
    name, keys, *rest = np.random.get_state()
    return {
        "python": random.getstate(),
        "numpy": (name, [int(key) for key in keys], *rest),
        "torch": torch.get_rng_state(),
        "cuda": torch.cuda.get_rng_state_all() if torch.cuda.is_available() else [],
    }


def set_random_state(state: dict[str, Any]) -> None:
    """Put back what `random_state` returned."""
    random.setstate(state["python"])
    np.random.set_state(state["numpy"])
    torch.set_rng_state(state["torch"])
    if state["cuda"]:
        torch.cuda.set_rng_state_all(state["cuda"])


def seed_random_state(seed: int) -> None:
    """Begin anew from a seed below 2^31: Python, NumPy, PyTorch and every visible GPU."""
    random.seed(seed)
    np.random.seed(seed)
    torch.manual_seed(seed)
