"""Several sources that are drawn from, each its share of the time."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction
from functools import cached_property

from rvpo.runtime.seed import derived_seed


@dataclass(frozen=True)
class Shares:
    """The source of each of endless draws, in a fixed pattern without state.

    Among the first n draws, for any n, each source has its share to within a draw for each source
    before it: a step of P prompts is mixed as the whole run is.

    Args:
        shares: one or more above 0; what counts is how they compare.

    Raises:
        ValueError: there are none, or one is not above 0.
    """

    shares: tuple[float, ...]

    def __post_init__(self) -> None:
        if not self.shares or min(self.shares) <= 0:
            raise ValueError(f"shares must be above 0, got {self.shares}")

    @cached_property
    def _exact(self) -> list[Fraction]:
        return [Fraction(str(share)) for share in self.shares]

    def drawn(self, count: int) -> tuple[int, ...]:
        """Draws of each source among the first so many."""
        found, left = [], count
        rest = sum(self._exact)
        # The first source has its share of all draws, the second its share of the others, …: each
        # number then grows by one at most, and never falls, with `count`.
        for share in self._exact:
            mine = int(left * share / rest + Fraction(1, 2))
            found.append(mine)
            left, rest = left - mine, rest - share
        return tuple(found)

    def endless(self, first: int = 0) -> Iterator[tuple[int, int]]:
        """The source of each draw from a place on, and how often it was drawn before."""
        before = self.drawn(first)
        for count in itertools.count(first + 1):
            after = self.drawn(count)
            yield _grown(before, after)
            before = after


def source_seed(seed: int, number: int) -> int:
    """The seed of the order of one of several sources."""
    return derived_seed(seed, "source", number)


def _grown(before: Sequence[int], after: Sequence[int]) -> tuple[int, int]:
    """The one of the numbers that has grown by one, and what it was."""
    pairs = enumerate(zip(before, after, strict=True))
    return next((place, old) for place, (old, new) in pairs if new > old)
