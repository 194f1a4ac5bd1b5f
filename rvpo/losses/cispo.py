"""CISPO: the ratio is clipped as a weight, so that no token loses its gradient."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, ClassVar, Literal

from pydantic import Field

from rvpo.fields import Float
from rvpo.lazy import torch
from rvpo.losses.loss import Loss, LossInputs, Surrogate
from rvpo.losses.weighting import Weighting

if TYPE_CHECKING:
    from torch import Tensor


class CISPO(Loss):
    """L = −sg(min(ρ, cap)) A log π, averaged over all tokens of the optimizer update.

    MiniMax-M1, arXiv:2506.13585, eq. 4 and 5.
    """

    name: Literal["cispo"] = "cispo"
    cap: Annotated[Float, Field(gt=1)] = 5.0
    """The largest ratio; TRL's `epsilon_high` with cispo."""

    weighting: ClassVar[Weighting] = "token_mean"
    clips: ClassVar[Literal["tokens", "samples", "weights", "nothing"]] = "weights"

    def __call__(self, x: LossInputs) -> Surrogate:
        """See `cispo`."""
        return cispo(x.logprobs, self.ratio(x), x.advantages, self.cap)


def cispo(logprobs: Tensor, ratio: Tensor, advantages: Tensor, cap: float) -> Surrogate:
    """L = −sg(min(ρ, cap)) A log π.

    Args:
        logprobs: [T] log π, with gradient.
        ratio: [T] ρ.
        advantages: [T].
    """
    ratio = ratio.detach()
    return Surrogate(
        loss=-ratio.clamp(max=cap) * advantages * logprobs,
        ratio=ratio,
        clipped_low=torch.zeros_like(ratio, dtype=torch.bool),
        clipped_high=(ratio > cap) & (advantages > 0),
    )
