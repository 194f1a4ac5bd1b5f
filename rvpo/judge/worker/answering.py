"""The model that answers at an endpoint."""

from __future__ import annotations

import re
from typing import Final

_VERSION: Final = re.compile(r"([-@:]v?\d+)+")
_LATEST: Final = re.compile(r"[-:@]latest$")
_FEWEST_DIGITS: Final = 3  # of a date or a number of build: `-7` is a size as often


class Answering:
    """Hears by which name an endpoint answers, and what there is to tell about that.

    Args:
        asked: the model's name in the calls.
    """

    def __init__(self, asked: str) -> None:
        self._asked = asked
        self._first = ""
        self._last = ""
        self._told: set[str] = set()

    def hear(self, name: str) -> str:
        """A reply named its model. Returns what is new and strange about it; mostly nothing."""
        self._last = name
        if not self._first:
            self._first = name
            if not is_version(name, self._asked):
                return f"was asked for {self._asked!r} and answers as {name!r}"
        elif name != self._first and not self._told:
            self._told.add(name)
            return f"answered as {self._first!r} and now also answers as {name!r}"
        return ""

    def is_other(self, name: str) -> bool:
        """True where a name is not that of the model asked for, or not that of the first reply."""
        return bool(name) and (name != self._first or not is_version(name, self._asked))

    def answers_as(self, name: str) -> bool:
        """True where verdicts of a model are those that would be given now, as far as is known."""
        return name == self._last if self._last else is_version(name, self._asked)


def is_version(name: str, asked: str) -> bool:
    """True where a name is the one asked for, but for folders before it and a date or number
    after."""
    name, asked = (text.rpartition("/")[2].casefold() for text in (name, asked))
    asked = _LATEST.sub("", asked)
    if not name.startswith(asked):
        return False
    rest = _LATEST.sub("", name[len(asked) :])
    digits = sum(character.isdigit() for character in rest)
    return not rest or (_VERSION.fullmatch(rest) is not None and digits >= _FEWEST_DIGITS)
