"""Importance weights that are truncated, and masked where a token is too old."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from rvpo.corrections.correction import Bounded
from rvpo.fields import NonNegativeInt

if TYPE_CHECKING:
    from torch import Tensor


class MaskOlder(Bounded):
    """min(w, C) where a token was sampled by weights that are at most so many updates old, else 0.

    A sample that went on under new weights loses its old tokens, and learns from the others.
    """

    name: Literal["mask_older"] = "mask_older"
    updates: NonNegativeInt = 1
    """Largest age that counts: updates between the weights that sampled and those that learn."""

    def factors(self, w: Tensor) -> Tensor:
        """[T] the weights within their bound."""
        return w.clamp(max=self.cap)

    def counted(self, w: Tensor, ages: Tensor) -> Tensor:
        """[T] bool, tokens that are not too old."""
        return ages <= self.updates
