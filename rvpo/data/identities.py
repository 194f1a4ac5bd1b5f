"""Ids of prompts: those that rows bring, and numbers where these tell no prompt from another."""

from __future__ import annotations

from collections import Counter
from typing import Any, Final

_NONE: Final = "without an id"


class Identities:
    """Gives each row of a source an id of its own.

    Args:
        prefix: begins every id.
        tells_apart: an id that another row has is not given again. Without it nothing is
            remembered, as rows are more than memory holds, and are read more than once.
    """

    def __init__(self, prefix: str = "", *, tells_apart: bool = True) -> None:
        self._prefix = prefix
        self._tells_apart = tells_apart
        self._seen: set[str] = set()
        self._numbered: Counter[str] = Counter()
        self._named = 0
        self._example = ""

    def of(self, given: Any, number: int | str) -> str:
        """The id of a row.

        Text and whole numbers are ids, also where a table has turned numbers into 3.0. A row
        without one has its number instead, and one whose id another row has, its number behind it.

        Args:
            given: the value that the row has as its id; None where it has nothing.
            number: the row's.
        """
        text = _text(given)
        name = f"{self._prefix}{number if text is None else text}"
        if not self._tells_apart:
            return name
        if text is not None:
            self._named += 1
        if name in self._seen:
            name = self._apart(name, number)
            reason = "with an id that another row has" if text is not None else _NONE
        else:
            reason = "" if text is not None else _reason(given)
        if reason:
            self._numbered[reason] += 1
            self._example = self._example or name
        self._seen.add(name)
        return name

    def report(self) -> str:
        """Sentence about the rows that are numbered though there are ids; empty without any."""
        told = {reason: n for reason, n in self._numbered.items() if self._named or reason != _NONE}
        if not told:
            return ""
        counts = ", ".join(f"{count:,} {reason}" for reason, count in told.items())
        return f"some rows have an id made from their number, such as '{self._example}': {counts}"

    def _apart(self, name: str, number: int | str) -> str:
        name = f"{name}#{number}"
        while name in self._seen:
            name += "#"
        return name


def _text(given: Any) -> str | None:
    match given:
        case bool():
            return None
        case int():
            return str(given)
        case str():
            return given if given.strip() else None
        case float() if given == given and given not in (float("inf"), float("-inf")):
            return str(int(given)) if given.is_integer() else str(given)
    return None


def _reason(given: Any) -> str:
    is_none = given is None or isinstance(given, float | str)
    return _NONE if is_none else f"whose id is of type {type(given).__name__}"
