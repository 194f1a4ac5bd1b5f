"""GRPO: every sample counts the same."""

from __future__ import annotations

from typing import ClassVar, Literal

from rvpo.losses.clipped import Clipped
from rvpo.losses.weighting import Weighting


class GRPOLoss(Clipped):
    """The clipped loss, averaged over each sample and then over samples.

    Shao et al. 2024, arXiv:2402.03300, eq. 3.
    """

    name: Literal["grpo"] = "grpo"

    weighting: ClassVar[Weighting] = "sequence_mean"
