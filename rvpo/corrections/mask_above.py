"""Importance weights that are masked where they are too large."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Literal

from pydantic import Field

from rvpo.corrections.correction import Bounded
from rvpo.fields import Float
from rvpo.lazy import torch

if TYPE_CHECKING:
    from torch import Tensor


class MaskAbove(Bounded):
    """w where w ≤ C, else 0: one-sided, as TRL's `token_mask` and `sequence_mask`."""

    name: Literal["mask_above"] = "mask_above"
    cap: Annotated[Float, Field(gt=1)] = 3.0
    """C, the largest importance weight that counts."""

    def factors(self, w: Tensor) -> Tensor:
        """[T] the weights, and 0 above the bound."""
        return torch.where(w <= self.cap, w, 0.0)
