"""The memory of a GPU as it is sold, and as a program can use it."""

from __future__ import annotations

from typing import Final

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


def usable(gib: float) -> float:
    """GiB of a GPU: those of the card that is sold by such a number, or just so many."""
    return USABLE.get(int(gib), gib) if gib == int(gib) else gib
