"""Rewards that count only where another one is reached."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from rvpo.rewards.cell import Cell


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
