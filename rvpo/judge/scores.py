"""The scores that a classifier gives an input, as they travel and are remembered."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final, Self

_LARGEST: Final = 2**53


@dataclass(frozen=True, slots=True)
class Scores:
    """The scores of one input, in the order of the classifier's labels.

    Raises:
        ValueError: there is none, or one is no finite number.
    """

    values: tuple[float, ...]
    label: str = ""
    """Name of the label with the highest one, as the server calls it; empty where it does not."""

    def __post_init__(self) -> None:
        if not self.values or not all(map(_is_score, self.values)):
            raise ValueError("a score is no finite number, or there is none")

    @property
    def best(self) -> int:
        """The label with the highest score, by its number."""
        return max(range(len(self.values)), key=self.values.__getitem__)

    def to_text(self) -> str:
        """The scores in all digits; `from_text` reads them back."""
        return json.dumps({"scores": self.values, "label": self.label}, ensure_ascii=False)

    @classmethod
    def from_text(cls, text: str) -> Self:
        """
        Raises:
            ValueError: the text is none of `to_text`.
        """
        try:
            value: Any = json.loads(text)
        except RecursionError as error:
            raise ValueError("no scores") from error
        if not isinstance(value, dict) or not isinstance(value.get("scores"), list):
            raise ValueError("no scores")
        return cls(_floats(value["scores"]), str(value.get("label", "")))


def _floats(values: Sequence[Any]) -> tuple[float, ...]:
    return tuple(float(value) if _is_score(value) else math.nan for value in values)


def _is_score(value: Any) -> bool:
    if type(value) is int:  # of which one may have more digits than a float can
        return abs(value) < _LARGEST
    return type(value) is float and math.isfinite(value)
