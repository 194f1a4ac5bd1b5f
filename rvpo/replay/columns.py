"""Names of columns of a reward matrix."""

from __future__ import annotations


def reward_of(name: str) -> str:
    """The reward that a column or an aspect belongs to: what stands before the first slash."""
    return name.partition("/")[0]
