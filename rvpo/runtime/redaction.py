"""A known secret taken out of what others write: whole, in parts, or encoded."""

from __future__ import annotations

import base64
import re
from collections.abc import Iterable, Iterator
from itertools import groupby
from urllib.parse import quote

SHORTEST_KEY = 8
"""Characters of a key that is worth hiding: shorter ones are stand-ins, and parts of words."""
_SHORTEST_PART = 6
"""Characters of a key that tell too much of it."""
_SHORTEST_CODE = 8
"""Characters of a key's encodings that tell too much: each of the key's takes more there."""
_PARTLY = re.compile(r"(?<![\w-])[\w-]*(?:[*•…]|\.{3})+[\w-]*")
_MASK = "[key]"


class Hidden:
    """Takes secrets out of texts.

    Args:
        keys: those shorter than `SHORTEST_KEY` are left alone.
    """

    def __init__(self, keys: Iterable[str]) -> None:
        worth = [key for key in keys if len(key) >= SHORTEST_KEY]
        self._keys = [key.lower() for key in worth]
        self._parts: dict[int, set[str]] = {_SHORTEST_PART: set(), _SHORTEST_CODE: set()}
        for key in worth:
            self._parts[_SHORTEST_PART].update(_grams(key.lower(), _SHORTEST_PART))
            for code in _encodings(key):
                self._parts[_SHORTEST_CODE].update(_grams(code.lower(), _SHORTEST_CODE))

    def out_of(self, text: str) -> str:
        """The text with every part of a key replaced, in capitals or not."""
        if not self._keys:
            return text
        whole = "|".join(re.escape(key) for key in self._keys)
        return _MASK.join(map(self._without_parts, re.split(whole, text, flags=re.IGNORECASE)))

    def _without_parts(self, text: str) -> str:
        lower = text.lower()
        if len(lower) != len(text):  # capitals that are two small letters would shift every place
            lower = text
        covered = [False] * len(text)
        for size, parts in self._parts.items():
            for start in range(len(text) - size + 1):
                if lower[start : start + size] in parts:
                    covered[start : start + size] = [True] * size
        for match in _PARTLY.finditer(lower):
            if self._shows_end(match[0]):
                covered[match.start() : match.end()] = [True] * len(match[0])
        runs = groupby(zip(text, covered, strict=True), key=lambda pair: pair[1])
        return "".join(_MASK if hidden else "".join(c for c, _ in run) for hidden, run in runs)

    def _shows_end(self, text: str) -> bool:
        """True where a text with a hidden middle begins or ends as a key does."""
        head, *_, tail = re.split(r"[*•….]+", text)
        return any(
            (len(head) > 1 and key.startswith(head)) or (len(tail) > 1 and key.endswith(tail))
            for key in self._keys
        )


def _grams(text: str, size: int) -> Iterator[str]:
    return (text[start : start + size] for start in range(len(text) - size + 1))


def _encodings(key: str) -> Iterator[str]:
    raw = key.encode()
    yield raw.hex()
    if quote(key, safe="") != key:
        yield quote(key, safe="")
    for shift in range(3):  # where in three bytes it may stand inside a longer text
        code = base64.b64encode(b"\0" * shift + raw).decode().rstrip("=")
        inner = code[(0, 2, 3)[shift] :]  # the first characters depend on what stands before
        inner = inner[:-1]  # and the last on what follows
        yield inner
        yield inner.replace("+", "-").replace("/", "_")
