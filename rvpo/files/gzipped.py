"""Bytes that may be compressed, as `zcat -f` reads them."""

from __future__ import annotations

import gzip
import zlib
from typing import Final

_BEGINS: Final = b"\x1f\x8b"
_LEVEL: Final = 6


def zipped(raw: bytes) -> bytes:
    """The bytes compressed, the same ones each time."""
    return gzip.compress(raw, _LEVEL, mtime=0)


def unzipped(raw: bytes) -> bytes:
    """The bytes as they were before they were compressed, or as they are.

    Raises:
        ValueError: they are damaged.
    """
    if not raw.startswith(_BEGINS):
        return raw
    try:
        return gzip.decompress(raw)
    except (OSError, EOFError, zlib.error) as error:
        raise ValueError(str(error)) from error
