"""Prompts of several sources, each of which has its share of a run."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import accumulate

from rvpo.data.packed import Joined
from rvpo.data.shares import Shares


@dataclass(frozen=True, eq=False, repr=False)
class Mixture(Joined):
    """All prompts of several sources, one source after the other, and how often each is drawn."""

    shares: Shares

    @cached_property
    def starts(self) -> Sequence[int]:
        """The place of the first prompt of each source."""
        return [0, *accumulate(map(len, self.parts))]
