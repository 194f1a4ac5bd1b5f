"""Rewards that count only where another one is reached."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import ClassVar

from rvpo.rewards.cell import Cell


@dataclass(frozen=True)
class Condition:
    """r_k becomes r_k · 1[r_l ≥ t]                         GDPO, arXiv:2601.05242, eq. 8

    Raises:
        ValueError: the threshold is not finite.
    """

    __pydantic_config__: ClassVar[dict[str, str]] = {"extra": "forbid"}

    reward: str
    """l, by name; its own scores count, whatever its condition."""
    at_least: float = 1.0
    """t."""

    def __post_init__(self) -> None:
        if not math.isfinite(self.at_least):
            raise ValueError(f"at_least must be a finite number, got {self.at_least}")


def conditioned(cells: Sequence[Cell], on: Sequence[Cell], at_least: float) -> list[Cell]:
    """`cells` with 0 where `on` is below the threshold.

    Where it is unknown whether the threshold is reached, so is the product. A score that does not
    apply stays so; one that failed becomes 0 where the condition makes it 0 whatever it is.
    """
    return [_conditioned(cell, other, at_least) for cell, other in zip(cells, on, strict=True)]


def _conditioned(cell: Cell, other: Cell, at_least: float) -> Cell:
    if cell.score is None:
        return cell
    if not isinstance(other.score, float):
        return replace(cell, score=other.score)
    return cell if other.score >= at_least else replace(cell, score=0.0)
