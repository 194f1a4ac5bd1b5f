"""The scores that satisfy a reward: one declaration for all who ask."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar, Final

_ROUNDING: Final = 1e-6  # scores are of 32 bits, and .9 is a little less there


def least(good: float) -> float:
    """The lowest score that counts as `good`: less by what rounding to 32 bits may take."""
    return good - _ROUNDING * max(1.0, abs(good))


@dataclass(frozen=True, slots=True)
class Satisfied:
    """The scores from which on a reward is satisfied, and up to which nothing of it is.

    Raises:
        ValueError: a bound is not finite, or `good` is not above `bad`.
    """

    __pydantic_config__: ClassVar[dict[str, str]] = {"extra": "forbid"}

    bad: float = 0.0
    """Score at which nothing is satisfied, and below."""
    good: float = 1.0
    """Score that is good enough, and above."""

    def __post_init__(self) -> None:
        if not (math.isfinite(self.bad) and math.isfinite(self.good)):
            raise ValueError(f"bad and good must be finite, got {self.bad} and {self.good}")
        if self.good <= self.bad:
            raise ValueError(
                f"good must be above bad, got bad {self.bad:g} and good {self.good:g}; give both, "
                "as in {bad: -3, good: 0}, and turn the sign of a reward of which less is better"
            )
        if least(self.good) <= self.bad:
            raise ValueError(
                f"bad {self.bad:g} and good {self.good:g} are as near as scores of 32 bits are "
                "rounded; give the reward a larger scale, or measure it from what is bad"
            )


MET_OR_NOT: Final = Satisfied()
"""The meaning of every verdict by itself, and of a reward that declares nothing: 0 is not met, 1 is
met."""


def may_be_verdicts(lowest: float, highest: float) -> bool:
    """True where scores from `lowest` to `highest` can mean `MET_OR_NOT`. Of others that declare
    nothing nobody knows which are good enough."""
    return not (lowest < MET_OR_NOT.bad or highest > MET_OR_NOT.good)
