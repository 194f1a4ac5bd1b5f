"""Arithmetic of GPUs, as their makers state it."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Final

_TERA: Final = 1e12
_OTHERS: Final = {"MIG", "LAPTOP", "MAX", "MOBILE", "D"}
"""Words of cards that are a part of the one whose name they have, or run slower."""
_PEAKS: Final[Mapping[str, float]] = {
    "A10": 125,
    "A10G": 70,
    "A30": 165,
    "A40": 149.7,
    "A100": 312,
    "A800": 312,
    "A6000": 154.8,
    "B200": 2250,
    "GB200": 2500,
    "GH200": 989.4,
    "H100": 989.4,
    "H100 NVL": 835.5,
    "H100 PCIE": 756,
    "H200": 989.4,
    "H200 NVL": 835.5,
    "H800": 989.4,
    "H20": 148,
    "L4": 121,
    "L40": 181,
    "L40S": 362,
    "RTX 3090": 71,
    "RTX 4090": 165.2,
    "RTX 6000 ADA": 364.2,
}
"""Dense bf16 with sums in fp32, in 10^12 operations a second, by words of the card's name."""


def peak_flops(name: str) -> float | None:
    """Operations a second that a GPU can do at most in bf16; None where that is not known.

    Args:
        name: the card's, as CUDA tells it, such as "NVIDIA H100 80GB HBM3".
    """
    words = set(re.split(r"[^A-Z0-9]+", name.upper()))
    if words & _OTHERS:
        return None
    fitting = [card for card in _PEAKS if set(card.split()) <= words]
    if not fitting:
        return None
    return _PEAKS[max(fitting, key=lambda card: len(card.split()))] * _TERA
