"""Counts of comparisons, which tell how far a judge goes by the place of a response."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Duels:
    """Sums over verdicts on pairs that were shown in both orders. Those of several ranks add up."""

    verdicts: int = 0
    first: float = 0.0
    """Verdicts for the response that was shown first, ties halved."""
    ties: int = 0
    pairs: int = 0
    """Pairs of which both verdicts are known."""
    contrary: int = 0
    """Pairs whose two verdicts disagree."""

    @classmethod
    def of(cls, pairs: Iterable[tuple[float | None, float | None]]) -> Duels:
        """Count pairs of verdicts, each the share of the win of the response shown first."""
        found = list(pairs)
        known = [value for pair in found for value in pair if value is not None]
        both = [(a, b) for a, b in found if a is not None and b is not None]
        return cls(
            verdicts=len(known),
            first=sum(known),
            ties=sum(value == 0.5 for value in known),
            pairs=len(both),
            contrary=sum(a + b != 1 for a, b in both),
        )

    def __add__(self, other: Duels) -> Duels:
        return Duels(
            verdicts=self.verdicts + other.verdicts,
            first=self.first + other.first,
            ties=self.ties + other.ties,
            pairs=self.pairs + other.pairs,
            contrary=self.contrary + other.contrary,
        )

    def metrics(self, prefix: str) -> dict[str, float]:
        """Shares under `{prefix}/`; what is not defined is left out."""
        metrics: dict[str, float] = {}
        if self.verdicts:
            metrics[f"{prefix}/position_bias"] = self.first / self.verdicts - 0.5
            metrics[f"{prefix}/tie_frac"] = self.ties / self.verdicts
        if self.pairs:
            metrics[f"{prefix}/contrary_frac"] = self.contrary / self.pairs
        return metrics
