"""No correction."""

from __future__ import annotations

from typing import Literal

from rvpo.corrections.correction import Correction


class NoCorrection(Correction):
    """Every loss as it is."""

    name: Literal["none"] = "none"

    @property
    def corrected(self) -> None:
        """No weights."""
        return None
