"""Dr. GRPO: the longest possible completion is the measure of all."""

from __future__ import annotations

from typing import ClassVar, Literal

from rvpo.losses.clipped import Clipped
from rvpo.losses.weighting import Weighting


class DrGRPO(Clipped):
    """The clipped loss, summed and divided by samples times the longest possible completion.

    Liu et al. 2025, arXiv:2503.20783, section 3.2.
    """

    name: Literal["dr_grpo"] = "dr_grpo"

    weighting: ClassVar[Weighting] = "constant"
