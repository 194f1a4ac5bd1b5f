"""Places of markers in a text: quoted, and at the beginning of a line or a sentence."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Final

QUOTES: Final = "\"'`"
_FENCE: Final = re.compile(r"^ {0,3}(?P<marks>`{3,}|~{3,})(?P<info>[^\n]*)$", re.MULTILINE)
UNSEEN: Final = "\ufeff\u200b\u200c\u200d\u2060\u00ad\u200e\u200f"
BLANK: Final = UNSEEN + " \t\r\n"
_ITEM: Final = re.compile(r"[ \t]*(?:[-+*•]|\d{1,3}[.)])[ \t]+")
_PREFIX: Final = re.compile(rf"(?:[^\S\n]|[{UNSEEN}*_~#]|<[^<>\n]{{1,60}}>)*")
_ENDS_SENTENCE: Final = re.compile(r"[.!?…][\"'”)*_]*\s+\Z")


def quoted(text: str, place: tuple[int, int]) -> bool:
    """True where one quotation mark stands on both sides of a place."""
    before, after = text[max(0, place[0] - 1) : place[0]], text[place[1] : place[1] + 1]
    return before != "" and before == after and before in QUOTES


def _fences(text: str) -> Iterator[tuple[int, int]]:
    """Places of the code fences in a text. One that is never closed quotes nothing."""
    opened: re.Match[str] | None = None
    for fence in _FENCE.finditer(text):
        if opened is None:
            opened = fence
        elif fence["marks"].startswith(opened["marks"]) and not fence["info"].strip():
            yield opened.start(), fence.end()
            opened = None


class Places:
    """Places in a text, asked about from left to right."""

    def __init__(self, text: str) -> None:
        self.text = text
        self._fences = _fences(text)
        self._fence = next(self._fences, None)
        self._asked = 0
        self._read_line(0)

    def _read_line(self, start: int) -> None:
        item = _ITEM.match(self.text, start)
        self._is_item = item is not None
        self._line = start if item is None else item.end()
        prefix = _PREFIX.match(self.text, self._line)
        self._prefix_end = self._line if prefix is None else prefix.end()
        self._is_quote = self.text.startswith(">", self._prefix_end)

    def is_free(self, place: tuple[int, int]) -> bool:
        """Neither in quotes, nor in a code fence, nor in a block quote."""
        while self._fence is not None and self._fence[1] <= place[0]:
            self._fence = next(self._fences, None)
        if (newline := self.text.rfind("\n", self._asked, place[0])) >= 0:
            self._read_line(newline + 1)
        self._asked = place[0]
        in_fence = self._fence is not None and self._fence[0] <= place[0]
        return not (in_fence or self._is_quote or quoted(self.text, place))

    def beginning(self, place: tuple[int, int]) -> int | None:
        """Beginning of the line or sentence that a free place begins; None where it begins none."""
        is_word = re.match(r" [a-z]", self.text[place[1] : place[1] + 2]) is not None
        if place[0] <= self._prefix_end:
            return None if self._is_item and is_word else self._line
        before = self.text[max(0, place[0] - 9) : place[0]]
        bare = before.rstrip("*_~")  # emphasis around the marker
        start = place[0] - len(before) + len(bare)
        return start if _ENDS_SENTENCE.search(bare) and not is_word else None
