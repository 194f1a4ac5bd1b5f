"""DAPO: every token of the update counts the same."""

from __future__ import annotations

from typing import ClassVar, Literal

from rvpo.losses.clipped import Clipped
from rvpo.losses.weighting import Weighting


class DAPO(Clipped):
    """The clipped loss, averaged over all tokens of the optimizer update.

    Yu et al. 2025, arXiv:2503.14476, eq. 8, which also has epsilon_high = 0.28.
    """

    name: Literal["dapo"] = "dapo"

    weighting: ClassVar[Weighting] = "token_mean"
