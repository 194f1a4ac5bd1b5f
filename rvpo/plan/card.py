"""A GPU as it is sold, and as a program can use it: its memory, and how fast it is."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from rvpo.trainer.peak_flops import peak_flops

USABLE: Final = {
    16: 14.5,  # T4
    24: 22.0,  # A10, L4
    32: 31.3,  # RTX 5090
    40: 39.4,  # A100
    48: 44.3,  # L40S
    80: 79.1,  # A100, H100
    94: 93.1,  # H100 NVL
    96: 94.5,  # GH200
    141: 139.8,  # H200
    180: 178.3,  # B200
    192: 178.3,  # B200
}
"""GiB that torch shows (`total_memory`) by the GB that cards are sold by, of the card that shows
least. The rest is the driver's and that of error correction."""

USUAL: Final = {
    24: "A10",
    40: "A100",
    48: "L40S",
    80: "H100",
    94: "H100 NVL",
    96: "GH200",
    141: "H200",
    180: "B200",
    192: "B200",
}
"""A card that is sold by such a number of GB."""

_PCIE: Final = 32.0  # of 16 lanes of the fourth generation
_RATES: Final[Mapping[str, tuple[float, float]]] = {
    "A10": (0.6, _PCIE),
    "A10G": (0.6, _PCIE),
    "A30": (0.933, 100.0),
    "A40": (0.696, 56.0),
    "A100": (1.555, 300.0),
    "A100 80GB": (2.039, 300.0),
    "A800": (1.555, 200.0),
    "A800 80GB": (2.039, 200.0),
    "A6000": (0.768, 56.0),
    "B200": (8.0, 900.0),
    "GB200": (8.0, 900.0),
    "GH200": (4.0, 450.0),
    "H100": (3.35, 450.0),
    "H100 NVL": (3.9, 300.0),
    "H100 PCIE": (2.0, 64.0),
    "H200": (4.8, 450.0),
    "H200 NVL": (4.8, 450.0),
    "H800": (3.35, 200.0),
    "H20": (4.0, 450.0),
    "L4": (0.3, _PCIE),
    "L40": (0.864, _PCIE),
    "L40S": (0.864, _PCIE),
    "RTX 3090": (0.936, _PCIE),
    "RTX 4090": (1.008, _PCIE),
    "RTX 6000 ADA": (0.96, _PCIE),
}
"""10^12 bytes a second of a card's memory, and 10^9 a second from it to another of its machine, one
way, as NVIDIA's data sheets state them: NVLink, or where there is none PCIe."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Card:
    """The speed of a GPU, as its maker states it."""

    name: str
    flops: float
    """Operations a second in bf16."""
    bandwidth: float
    """Bytes a second of its memory."""
    link: float
    """Bytes a second to another GPU of the same machine, one way."""

    @classmethod
    def of(cls, name: str, sold: float | None = None) -> Card | None:
        """
        Args:
            name: the card's, such as "H100", or as CUDA tells it.
            sold: GB that it is sold by, where that is not in the name.

        Returns:
            None where it is not known.
        """
        flops, whole = peak_flops(name), name if sold is None else f"{name} {sold:g}GB"
        words = set(re.split(r"[^A-Z0-9]+", whole.upper()))
        fitting = [card for card in _RATES if set(card.split()) <= words]
        if flops is None or not fitting:
            return None
        bandwidth, link = _RATES[max(fitting, key=lambda card: len(card.split()))]
        return cls(name=name, flops=flops, bandwidth=bandwidth * 1e12, link=link * 1e9)

    def __str__(self) -> str:
        return (
            f"{self.name}: {self.flops / 1e12:,.0f} TFLOP/s in bf16, {self.bandwidth / 1e12:.2f} "
            f"TB/s of memory, {self.link / 1e9:,.0f} GB/s to another GPU of its node"
        )


def usable(gib: float) -> float:
    """GiB of a GPU: those of the card that is sold by such a number, or just so many."""
    return USABLE.get(int(gib), gib) if gib == int(gib) else gib
