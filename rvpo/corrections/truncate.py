"""Truncated importance weights."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from rvpo.corrections.correction import Bounded
from rvpo.fields import NonNegativeFloat

if TYPE_CHECKING:
    from torch import Tensor


class Truncate(Bounded):
    """min(max(w, c), C). Yao et al.'s TIS has no c."""

    name: Literal["truncate"] = "truncate"
    floor: NonNegativeFloat = 0.0
    """c, the smallest importance weight: less is raised to it."""

    def factors(self, w: Tensor) -> Tensor:
        """[T] the weights within their bounds."""
        return w.clamp(min=self.floor, max=self.cap)
