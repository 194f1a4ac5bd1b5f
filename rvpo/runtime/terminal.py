"""Text on a terminal as it is: no character of it is an order."""

from __future__ import annotations

import re
import sys
from io import TextIOWrapper
from typing import Final, TextIO

_ORDERS: Final = re.compile(
    # Control characters but tab and line break; line breaks and directions of Unicode; halves of
    # surrogate pairs, which is what bytes of file names that are no UTF-8 become.
    r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ufeff\ud800-\udfff]"
)


def printable(text: str) -> str:
    """The text with every character escaped that would move, colour or turn what is shown."""
    return _ORDERS.sub(lambda match: ascii(match[0])[1:-1], text)


def encoding_of(stream: TextIO | None) -> str:
    """The encoding of an output; UTF-8 where it was closed before Python started."""
    return "utf-8" if stream is None else stream.encoding


def take_any_text() -> None:
    """Let the output streams escape what their encoding has no character for."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")
