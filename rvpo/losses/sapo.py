"""SAPO: a soft gate in place of the clip."""

from __future__ import annotations

from typing import ClassVar, Literal

from rvpo.fields import PositiveFloat
from rvpo.lazy import torch
from rvpo.losses.loss import Loss, LossInputs, Surrogate, unclipped
from rvpo.losses.weighting import Weighting


class SAPO(Loss):
    """L = −(4/τ) σ(τ (ρ − 1)) A, averaged over each sample and then over samples.

    At ρ = 1 its gradient is that of ρ A; away from 1 it fades, faster the larger τ.
    Gao et al. 2025, arXiv:2511.20347, eq. 5 to 7.
    """

    name: Literal["sapo"] = "sapo"
    temperature: PositiveFloat = 1.0
    """τ where the advantage is positive; TRL's `sapo_temperature_pos`."""
    temperature_negative: PositiveFloat = 1.05
    """τ elsewhere; TRL's `sapo_temperature_neg`."""

    weighting: ClassVar[Weighting] = "sequence_mean"
    clips: ClassVar[Literal["tokens", "samples", "weights", "nothing"]] = "nothing"

    def __call__(self, x: LossInputs) -> Surrogate:
        """The loss of each token."""
        ratio = self.ratio(x)
        positive, negative = self.temperature, self.temperature_negative
        tau = torch.where(x.advantages > 0, positive, negative).to(ratio)
        return unclipped(-torch.sigmoid(tau * (ratio - 1)) * 4 / tau * x.advantages, ratio)
