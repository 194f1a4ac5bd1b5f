"""Lengths of prompts, and their histogram."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import fmean, median
from typing import Final, Literal

Unit = Literal["tokens", "words"]
"""Measure of a length: words where no tokenizer is at hand."""

_BINS: Final = 12
"""Bins that a histogram has about, besides a last one of what is much longer."""


@dataclass(frozen=True, slots=True)
class Bin:
    """Prompts whose lengths lie in `[start, end)`."""

    start: int
    end: int | None
    """None of the last one, where it holds all that is longer."""
    count: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Lengths:
    """Lengths of the prompts of a source, at least one."""

    unit: Unit
    counted: int
    """Prompts that were measured: all, or of very many some at equal distances."""
    shortest: int
    median: float
    mean: float
    most: int
    """Length that 95 of 100 prompts do not exceed."""
    longest: int
    bins: tuple[Bin, ...]

    @classmethod
    def of(cls, lengths: Sequence[int], unit: Unit) -> Lengths:
        """Summarise them.

        Raises:
            ValueError: there are none.
        """
        if not lengths:
            raise ValueError("there are no lengths")
        ordered = sorted(lengths)
        return cls(
            unit=unit,
            counted=len(ordered),
            shortest=ordered[0],
            median=median(ordered),
            mean=fmean(ordered),
            most=_at(ordered, 0.95),
            longest=ordered[-1],
            bins=tuple(_bins(ordered)),
        )


def _at(ordered: Sequence[int], share: float) -> int:
    """The smallest length that so many do not exceed."""
    return ordered[max(0, -(-round(share * 1000) * len(ordered) // 1000) - 1)]


def _bins(ordered: Sequence[int]) -> list[Bin]:
    """Bins of equal width up to what 99 of 100 do not exceed, and one of the rest."""
    top = _at(ordered, 0.99)
    width = _round((top - ordered[0]) / _BINS)
    start = ordered[0] // width * width
    number = (top - start) // width + 1
    counts = [0] * (number + 1)
    for length in ordered:
        counts[min(number, (length - start) // width)] += 1
    bins = [
        Bin(start + n * width, start + (n + 1) * width, count)
        for n, count in enumerate(counts[:number])
    ]
    rest = Bin(start + number * width, None, counts[number])
    return bins + ([rest] if rest.count else [])


def _round(width: float) -> int:
    """The next of 1, 2, 5, 10, 20, ..."""
    size = 1
    while True:
        for step in (1, 2, 5):
            if step * size >= width:
                return step * size
        size *= 10
