"""LUSPO: GSPO without its preference for short samples."""

from __future__ import annotations

from typing import ClassVar, Literal

from rvpo.losses.gspo import GSPO
from rvpo.losses.weighting import Weighting


class LUSPO(GSPO):
    """GSPO's loss times the sample's length: the sum over its tokens in place of their mean.

    arXiv:2602.05261. As TRL's luspo with importance_sampling_level="sequence".
    """

    name: Literal["luspo"] = "luspo"  # type: ignore[assignment]

    weighting: ClassVar[Weighting] = "sequence_sum"
