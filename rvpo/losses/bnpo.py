"""BNPO: every micro-batch counts the same."""

from __future__ import annotations

from typing import ClassVar, Literal

from rvpo.losses.clipped import Clipped
from rvpo.losses.weighting import Weighting


class BNPO(Clipped):
    """The clipped loss, averaged over each micro-batch and then over micro-batches.

    It depends on `micro_batch_tokens` and, of one sample a row, is grpo. As TRL has it.
    """

    name: Literal["bnpo"] = "bnpo"

    weighting: ClassVar[Weighting] = "row_mean"
