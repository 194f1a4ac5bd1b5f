"""VESPO: the weight of a whole sample, shaped smoothly instead of clipped."""

from __future__ import annotations

import math
from typing import ClassVar, Literal

from rvpo.corrections.correction import Correction
from rvpo.fields import PositiveFloat
from rvpo.lazy import torch
from rvpo.losses.loss import Loss, LossInputs, Surrogate, sum_of_samples, token_ratio, unclipped
from rvpo.losses.weighting import Weighting

_LOWEST, _HIGHEST = math.log(1e-8), 20.0


class VESPO(Loss):
    """L = −sg(φ(W)) A log π, averaged over all tokens of the optimizer update.

        φ(W) = e^λ W^k e^(−λ W),    W = Π_t w_t ρ_t of a sample, φ(1) = 1

    w is what the correction makes of a token's importance weight; it enters here and nowhere else.
    A token that it masks is not in the product, and its loss is 0.
    k and λ depend on the sign of A. arXiv:2602.10693; bounds of log W as in TRL.
    """

    name: Literal["vespo"] = "vespo"
    k: PositiveFloat = 2.0
    """k where the advantage is not negative; TRL's `vespo_k_pos`."""
    decay: PositiveFloat = 3.0
    """λ where the advantage is not negative; TRL's `vespo_lambda_pos`."""
    k_negative: PositiveFloat = 3.0
    """k where the advantage is negative; TRL's `vespo_k_neg`."""
    decay_negative: PositiveFloat = 2.0
    """λ where the advantage is negative; TRL's `vespo_lambda_neg`."""

    weighting: ClassVar[Weighting] = "token_mean"
    clips: ClassVar[Literal["tokens", "samples", "weights", "nothing"]] = "nothing"
    corrects: ClassVar[bool] = True

    def problem(self, correction: Correction) -> str | None:
        """It multiplies the weights of tokens itself, so they must be those of tokens."""
        if correction.corrected != "sequence":
            return None
        return (
            "update.correction: vespo makes one weight of a sample's tokens itself; set "
            "update.correction.level=token"
        )

    def __call__(self, x: LossInputs) -> Surrogate:
        """The loss of each token."""
        ratio = token_ratio(x.logprobs, x.old_logprobs).detach()
        weight = x.importance.log().clamp(_LOWEST, _HIGHEST) + ratio.log()
        if x.counted is not None:
            weight = weight.where(x.counted, 0.0)
        log_w = sum_of_samples(weight, x.sample, x.lengths).clamp(_LOWEST, _HIGHEST)[x.sample]
        good = x.advantages >= 0
        k = torch.where(good, self.k, self.k_negative).to(log_w)
        decay = torch.where(good, self.decay, self.decay_negative).to(log_w)
        phi = torch.exp(decay + k * log_w - decay * log_w.exp())
        if x.counted is not None:
            phi = phi.where(x.counted, 0.0)
        return unclipped(-phi * x.advantages * x.logprobs, ratio)
