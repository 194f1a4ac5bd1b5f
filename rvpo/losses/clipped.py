"""The clipped loss of PPO and GRPO, which others change by their ratio and by how tokens count."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, ClassVar, Literal, Self

from pydantic import Field, model_validator

from rvpo.fields import Float, PositiveFloat
from rvpo.lazy import torch
from rvpo.losses.loss import Loss, LossInputs, Surrogate

if TYPE_CHECKING:
    from torch import Tensor


class Clipped(Loss):
    """L = −min(ρ A, clip(ρ, 1 − ε, 1 + ε_high) A), and where A < 0 at most −c A."""

    epsilon: PositiveFloat = 0.2
    """ε, how far below 1 the ratio may fall before it is clipped."""
    epsilon_high: PositiveFloat | None = None
    """ε_high, how far above 1 it may rise; `epsilon` if left out."""
    dual_clip: Annotated[Float, Field(gt=1)] | None = None
    """c, the bound of the ratio where the advantage is negative, such as 3, at least
    1 + `epsilon_high`, from where on it is TRL's `delta`; none if left out."""

    clips: ClassVar[Literal["tokens", "samples", "weights", "nothing"]] = "tokens"

    @model_validator(mode="after")
    def _clips_first(self) -> Self:
        if self.dual_clip is not None and self.dual_clip < 1 + self.largest_rise:
            raise ValueError(
                f"dual_clip: {self.dual_clip} would bound the ratio before epsilon_high clips it; "
                f"make it at least {1 + self.largest_rise:g}, such as 3"
            )
        return self

    @property
    def largest_rise(self) -> float:
        """Largest rise of the ratio above 1."""
        return self.epsilon_high or self.epsilon

    def __call__(self, x: LossInputs) -> Surrogate:
        """See `clipped`."""
        ratio = self.ratio(x)
        return clipped(ratio, x.advantages, self.epsilon, self.largest_rise, self.dual_clip)


def clipped(
    ratio: Tensor,
    advantages: Tensor,
    epsilon: float,
    epsilon_high: float,
    dual_clip: float | None = None,
) -> Surrogate:
    """The clipped policy-gradient loss of PPO and GRPO.

        L = −min(ρ A, clip(ρ, 1 − ε, 1 + ε_high) A),    and where A < 0 at most −c A

    Args:
        ratio: [T] ρ, with gradient.
        advantages: [T].
        dual_clip: c, above 1; no such bound if left out.

    Source: Schulman et al. 2017, arXiv:1707.06347, eq. 7; ε_high: DAPO, arXiv:2503.14476, eq. 8;
    c: Ye et al. 2020, arXiv:1912.09729, eq. 4.
    """
    bounded = ratio.clamp(1 - epsilon, 1 + epsilon_high)
    loss = -torch.minimum(ratio * advantages, bounded * advantages)
    if dual_clip is not None:
        loss = torch.where(advantages < 0, loss.minimum(-dual_clip * advantages), loss)
    return Surrogate(
        loss=loss,
        ratio=ratio.detach(),
        clipped_low=(ratio < 1 - epsilon) & (advantages < 0),
        clipped_high=(ratio > 1 + epsilon_high) & (advantages > 0),
    )
