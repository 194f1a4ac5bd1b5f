"""Importance weights that are masked where they are far from 1."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from rvpo.corrections.correction import Bounded
from rvpo.fields import NonNegativeFloat

if TYPE_CHECKING:
    from torch import Tensor


class Mask(Bounded):
    """w where c ≤ w ≤ C, else 0."""

    name: Literal["mask"] = "mask"
    floor: NonNegativeFloat | None = None
    """c, the smallest importance weight that counts; 1/C if left out."""

    def factors(self, w: Tensor) -> Tensor:
        """[T] the weights."""
        return w

    def counted(self, w: Tensor, ages: Tensor) -> Tensor:
        """[T] bool, weights within their bounds."""
        least = 1 / self.cap if self.floor is None else self.floor
        return (w >= least) & (w <= self.cap)
