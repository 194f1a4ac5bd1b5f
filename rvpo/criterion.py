"""One criterion of a rubric."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal, get_args

from rvpo.scale import Grades, plain, scale_of

Polarity = Literal["positive", "negative"]
"""Sign of meeting a criterion: the response is the better (positive) or the worse one
(negative)."""

CriterionClass = Literal["essential", "important", "optional", "pitfall"]

CLASS_WEIGHTS: Mapping[str, float] = {
    "essential": 1.0,
    "important": 0.7,
    "optional": 0.3,
    "pitfall": 0.9,
}
"""Rubrics as Rewards (arXiv:2507.17746), explicit aggregation."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Criterion:
    """A sentence that is true or false of a response, or true of it in grades.

    The judge is asked only whether, or how far, it is literally true; polarity is applied
    afterwards.

    Raises:
        ValueError: the text is empty, or polarity or class is not one of theirs.
    """

    text: str
    polarity: Polarity = "positive"
    label: CriterionClass = "important"
    """Class, for weights and curves."""
    points: float = 1.0
    """Size in the data set, never negative: the sign is in `polarity`."""
    axis: str = ""
    """Topic, such as accuracy or completeness, for curves; empty where the data set has none."""
    scale: Grades = ()
    """Grades, which become scores from 0 (the lowest) to 1; met or not where there are none."""

    def __post_init__(self) -> None:
        if not isinstance(self.text, str) or not self.text.strip():
            raise ValueError("a criterion needs a text")
        if self.polarity not in get_args(Polarity):
            raise ValueError(f"polarity must be positive or negative, got {self.polarity!r}")
        if self.label not in get_args(CriterionClass):
            raise ValueError(
                f"label must be one of {', '.join(get_args(CriterionClass))}, got {self.label!r}"
            )
        if not 0 <= self.points < math.inf:
            raise ValueError(f"points must be at least 0 and finite, got {self.points}")
        if not isinstance(self.axis, str):
            raise ValueError(f"axis must be a text, got {self.axis!r}")

    def score(self, met: float) -> float:
        """1 where the response does well: it meets a positive or avoids a negative criterion.

        Args:
            met: 1 met, 0 not met, a grade's place in between.
        """
        return met if self.polarity == "positive" else 1.0 - met

    def to_row(self) -> dict[str, Any]:
        """The criterion as a data column holds it; `from_row` reads it back."""
        row = {name: getattr(self, name) for name in self.__slots__}
        return _known(row | {"scale": plain(self.scale) if self.scale else None})

    @classmethod
    def from_row(cls, row: Mapping[str, Any]) -> Criterion:
        """A criterion as a row holds it, null where a file has a column that the row leaves out.

        Raises:
            TypeError, ValueError: the row is no criterion.
        """
        if not isinstance(row, Mapping):
            raise TypeError(f"{row!r} is no table with a text")
        given = _known(row)
        scale = given.get("scale")
        return cls(
            **{**given, "scale": scale_of(_known(scale) if isinstance(scale, Mapping) else scale)}
        )


def _known(row: Mapping[str, Any]) -> dict[str, Any]:
    """A row without what only others of its file have."""
    return {name: value for name, value in row.items() if value is not None}
