"""Names of columns of a reward matrix."""

from __future__ import annotations

from collections.abc import Iterable


def reward_of(name: str) -> str:
    """The reward that a column or an aspect belongs to: what stands before the first slash."""
    return name.partition("/")[0]


def narrowest(aspects: Iterable[str]) -> list[str]:
    """Aspects that no other one is a part of."""
    every = list(aspects)
    divided = {reward_of(name) for name in every if "/" in name}
    return [name for name in every if name not in divided]
