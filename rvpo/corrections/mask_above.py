"""Importance weights that are masked where they are too large."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Literal

from pydantic import Field

from rvpo.corrections.correction import Bounded
from rvpo.fields import Float

if TYPE_CHECKING:
    from torch import Tensor


class MaskAbove(Bounded):
    """w where w ≤ C, else 0: one-sided, as TRL's `token_mask` and `sequence_mask`."""

    name: Literal["mask_above"] = "mask_above"
    cap: Annotated[Float, Field(gt=1)] = 3.0
    """C, the largest importance weight that counts."""

    def factors(self, w: Tensor) -> Tensor:
        """[T] the weights."""
        return w

    def counted(self, w: Tensor, ages: Tensor) -> Tensor:
        """[T] bool, weights that are not above the bound."""
        return w <= self.cap
