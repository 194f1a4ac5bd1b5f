"""Texts with placeholders, such as <<response>>."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from typing import Final

from rvpo.errors import nearest

_PLACE: Final = re.compile(r"<<([^<>\n]{1,64})>>")


def placeholder_problem(text: str, known: Collection[str], required: str) -> str:
    """The problem of a text with placeholders; empty where there is none.

    Args:
        known: names that may stand in it.
        required: the one that must.
    """
    for name in _PLACE.findall(text):
        if name not in known:
            guess = nearest(name, list(known))
            there = ", ".join(f"<<{each}>>" for each in known)
            meant = f"did you mean <<{guess}>>?" if guess else f"there are {there}"
            return f"<<{name}>> is no placeholder; {meant}"
    return "" if f"<<{required}>>" in text else f"there must be a <<{required}>> in it"


def fill(text: str, values: Mapping[str, str]) -> str:
    """The text with every placeholder replaced in one pass: what a value holds is never one."""
    return _PLACE.sub(lambda place: values.get(place[1], place[0]), text)
