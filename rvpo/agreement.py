"""Agreement of a score with its repeats, as sums that add up over groups, ranks and steps."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, fields
from typing import Final, Self

NOISY: Final = 0.5
"""Reliability below which more than half of what a score tells apart is noise."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Agreement:
    """Sums over groups whose samples were scored more than once.

    Of a sample, c is the product of both deviations from the group's mean, that of a score and that
    of its repeat; v is the mean of their squares. A group in which nothing differs has no part.
    """

    shared: float = 0.0
    """Sum of c."""
    spread: float = 0.0
    """Sum of v."""
    squares: float = 0.0
    """Sum of the squares of each sample's v."""
    groups: float = 0.0
    """Sum of 1, which fades with time."""
    groups_squared: float = 0.0
    """Sum of the squares of what each group counts now."""
    shared_squared: float = 0.0
    """Sum of the squares of each group's c."""
    product: float = 0.0
    """Sum of the products of each group's c and v."""
    spread_squared: float = 0.0
    """Sum of the squares of each group's v."""

    @classmethod
    def of_group(cls, shared: float, spread: float, squares: float) -> Self:
        """The sums of a single group, from those of its c, v and v squared."""
        return cls(
            shared=shared,
            spread=spread,
            squares=squares,
            groups=1.0,
            groups_squared=1.0,
            shared_squared=shared**2,
            product=shared * spread,
            spread_squared=spread**2,
        )

    @property
    def scores(self) -> float:
        """Number of scores that tell as much, if all deviated alike: Kish's effective one. Of a
        criterion that few responses meet, little more than these few."""
        return self.spread**2 / self.squares if self.squares else 0.0

    def __add__(self, other: Agreement) -> Agreement:
        mine, others = asdict(self), asdict(other)
        return Agreement(**{name: mine[name] + others[name] for name in mine})

    def faded(self, factor: float) -> Agreement:
        """The sums, of which each group counts `factor` times what it did."""
        squared = {"squares", "groups_squared", "shared_squared", "product", "spread_squared"}
        return Agreement(
            **{
                name: value * (factor**2 if name in squared else factor)
                for name, value in asdict(self).items()
            }
        )

    @classmethod
    def from_json(cls, value: Mapping[str, float]) -> Self:
        """The sums that `asdict` made this of.

        Raises:
            KeyError: one of them is missing.
        """
        return cls(**{field.name: float(value[field.name]) for field in fields(cls)})


def summed(parts: Iterable[Mapping[str, Agreement]]) -> dict[str, Agreement]:
    """Sums by name over several mappings, in their order."""
    total: dict[str, Agreement] = {}
    for part in parts:
        for name, found in part.items():
            total[name] = total.get(name, Agreement()) + found
    return total
