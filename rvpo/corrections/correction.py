"""Corrections for samples that the engine drew from a slightly other policy than the trainer's.

The engine computes with other kernels and in another precision, and with staleness it has older
weights. w is the ratio of the policy before the step to the one that sampled, of a token or the
product over a sample's; a token's loss is multiplied by what a correction makes of it. A token
that a correction masks is left out: it has no gradient, and a loss of whole samples makes its ratio
or weight of the others. A sample that went on under new weights has each token's probability under
those that sampled it, so a token's w is right whatever sampled the others.

Source: Yao et al. 2025, "Your efficient RL framework secretly brings you off-policy training".
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Literal, Self

from pydantic import Field, model_validator

from rvpo.fields import Float, Section
from rvpo.lazy import torch

if TYPE_CHECKING:
    from torch import Tensor

Level = Literal["token", "sequence"]


@dataclass(frozen=True, slots=True)
class Corrected:
    """Importance weights of T tokens as a correction leaves them."""

    factors: Tensor  # [T] of the losses; 0 where a token is masked
    counted: Tensor  # [T] bool, tokens that are not masked


class Correction(Section):
    """A correction and its settings. A subclass has a `name`, and `factors` with its equation; one
    that masks has `counted` too."""

    @property
    def corrected(self) -> Level | None:
        """Level of the corrected weights; None where nothing is corrected."""
        return "token"

    def factors(self, w: Tensor) -> Tensor:
        """[T] factors of the losses, from the importance weights w."""
        raise NotImplementedError

    def counted(self, w: Tensor, ages: Tensor) -> Tensor:
        """[T] bool, tokens that count at all, by their importance weights and by the updates that
        the weights which sampled them were behind. All, unless a subclass says otherwise."""
        return torch.ones_like(w, dtype=torch.bool)

    def __call__(
        self,
        old_logprobs: Tensor,
        sampled_logprobs: Tensor,
        sample: Tensor,
        count: int,
        ages: Tensor | None = None,
    ) -> Tensor:
        """[T] factors of the tokens' losses, those of `correct`."""
        return self.correct(old_logprobs, sampled_logprobs, sample, count, ages).factors

    def correct(
        self,
        old_logprobs: Tensor,
        sampled_logprobs: Tensor,
        sample: Tensor,
        count: int,
        ages: Tensor | None = None,
    ) -> Corrected:
        """Factors of the tokens' losses, and the tokens that count.

        Args:
            old_logprobs: [T] the trainer's policy's before the step.
            sampled_logprobs: [T] the engine's.
            sample: [T] index of each token's sample.
            count: number of samples.
            ages: [T] updates that the weights which sampled a token were behind; 0 if left out.
        """
        if self.corrected is None:
            ones = torch.ones_like(old_logprobs)
            return Corrected(ones, ones.bool())
        log_w = old_logprobs - sampled_logprobs
        if self.corrected == "sequence":
            log_w = log_w.new_zeros(count).index_add(0, sample, log_w)[sample]
        w = torch.exp(log_w)
        counted = self.counted(w, torch.zeros_like(sample) if ages is None else ages)
        return Corrected(torch.where(counted, self.factors(w), 0.0), counted)


class Bounded(Correction):
    """A correction with a largest weight."""

    level: Level = "token"
    """Weights of tokens, or of whole samples: the product over their tokens."""
    cap: Annotated[Float, Field(gt=1)] = 2.0
    """C, the largest importance weight."""

    @property
    def corrected(self) -> Level:
        """Level of the corrected weights."""
        return self.level

    @model_validator(mode="after")
    def _leaves_room(self) -> Self:
        floor = getattr(self, "floor", None) or 0
        if floor > self.cap:
            raise ValueError(f"floor: {floor} is above cap: {self.cap}; make it smaller")
        return self
