"""Seeds as a pure function of where they are used, so that resuming needs no generator state."""

from __future__ import annotations

import hashlib


def derived_seed(*parts: int | str) -> int:
    """A seed below 2^31 that differs wherever any part does; the same on every machine."""
    digest = hashlib.sha256(repr(parts).encode()).digest()
    return int.from_bytes(digest[:4], "big") >> 1
