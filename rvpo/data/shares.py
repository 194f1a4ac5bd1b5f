"""Several sources that are drawn from, each its share of the time."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from itertools import pairwise


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

    def drawn(self, count: int) -> tuple[int, ...]:
        """Draws of each source among the first so many."""
        found, left = [], count
        exact = [Fraction(str(share)) for share in self.shares]
        rest = sum(exact)
        # The first source has its share of all draws, the second its share of the others, …: each
        # number then grows by one at most, and never falls, with `count`.
        for share in exact:
            mine = int(left * share / rest + Fraction(1, 2))
            found.append(mine)
            left, rest = left - mine, rest - share
        return tuple(found)

    def draws(self, start: int, stop: int) -> list[tuple[int, int]]:
        """The source of each draw from `start` up to `stop`, and how often it was drawn before."""
        counts = [self.drawn(count) for count in range(start, stop + 1)]
        return [_grown(before, after) for before, after in pairwise(counts)]


def _grown(before: Sequence[int], after: Sequence[int]) -> tuple[int, int]:
    """The one of the numbers that has grown by one, and what it was."""
    pairs = enumerate(zip(before, after, strict=True))
    return next((place, old) for place, (old, new) in pairs if new > old)
