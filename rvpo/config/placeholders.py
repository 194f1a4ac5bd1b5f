"""Texts with placeholders, such as {response}."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping

from rvpo.errors import nearest


def placeholder_problem(text: str, known: Collection[str], required: str) -> str:
    """The problem of a text with placeholders; empty where there is none.

    Args:
        known: names that may stand between braces.
        required: the one that must.
    """
    shown = ", ".join(f"{{{name}}}" for name in known)
    for name in re.findall(r"\{(\w+)\}", text):
        if name not in known:
            guess = nearest(name, list(known))
            meant = f"did you mean {{{guess}}}?" if guess else f"there are {shown}"
            return f"{{{name}}} is no placeholder; {meant}"
    return "" if f"{{{required}}}" in text else f"there must be a {{{required}}} in it"


def fill(text: str, values: Mapping[str, str]) -> str:
    """The text with each placeholder replaced once: what a value holds is never one."""
    return re.sub(r"\{(\w+)\}", lambda found: values.get(found[1], found[0]), text, flags=re.ASCII)
