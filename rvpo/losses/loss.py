"""The interface of a policy loss: its inputs and its outcome.

ρ is the probability ratio π / π_old of a token, or of its whole sample; A the advantage of the
token's sample. What a step minimises is the sum of a loss's values times the weights of the tokens
in `losses.weighting`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, Literal

from rvpo.corrections.correction import Correction
from rvpo.fields import Section
from rvpo.lazy import torch
from rvpo.losses.weighting import Weighting

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True, slots=True, kw_only=True)
class LossInputs:
    """The tokens of a micro-batch: T of them, of S samples."""

    logprobs: Tensor  # [T] log π, with gradient
    old_logprobs: Tensor  # [T] log π_old, of the policy before the step
    advantages: Tensor  # [T] A
    importance: Tensor  # [T] what the correction makes of π_old over the engine's policy
    sample: Tensor  # [T] which sample a token is of
    lengths: Tensor  # [S]
    counted: Tensor | None = None  # [T] bool, False where the correction masks; None is all


@dataclass(frozen=True, slots=True)
class Surrogate:
    """Loss of each token, and the places where its clip holds."""

    loss: Tensor  # [T]
    ratio: Tensor  # [T] ρ, without gradient
    clipped_low: Tensor  # [T] bool
    clipped_high: Tensor  # [T] bool


class Loss(Section):
    """A policy loss and its settings. A subclass has a `name`, and `__call__` with its equation."""

    weighting: ClassVar[Weighting] = "token_mean"
    """Weights of its tokens in the mean."""
    clips: ClassVar[Literal["tokens", "samples", "weights", "nothing"]] = "nothing"
    """Objects of its clip, which decide what is reported: shares of tokens or of samples under
    `clip_ratio`, of weights under `cispo_clip_ratio`."""
    corrects: ClassVar[bool] = False
    """True where it applies `importance` itself; else losses are multiplied by it."""

    def __call__(self, x: LossInputs) -> Surrogate:
        """The loss of each token."""
        raise NotImplementedError

    def ratio(self, x: LossInputs) -> Tensor:
        """[T] ρ, with gradient."""
        return token_ratio(x.logprobs, x.old_logprobs)

    def problem(self, correction: Correction) -> str | None:
        """Reason that it cannot go with a correction; None where it can."""
        return None


def token_ratio(logprobs: Tensor, old_logprobs: Tensor) -> Tensor:
    """[T] ρ_t = π(a_t) / π_old(a_t), within e^±20: further away it would overflow to a gradient
    that is no number, and clipping is at work long before."""
    return torch.exp((logprobs - old_logprobs).clamp(-20, 20))


def sequence_ratio(
    logprobs: Tensor,
    old_logprobs: Tensor,
    sample: Tensor,
    lengths: Tensor,
    counted: Tensor | None = None,
) -> Tensor:
    """[T] GSPO's ratio of a whole sample, at each of its tokens.

        s_i = exp(mean_t (log π(a_t) − log π_old(a_t)))

    Args:
        sample: [T] index of each token's sample.
        lengths: [S].
        counted: [T] bool, tokens that the mean is over, all if left out. It is over all of a
            sample, too, of which none counts: that has no gradient anyway.

    Source: Zheng et al. 2025, arXiv:2507.18071, eq. 7.
    """
    difference = logprobs - old_logprobs
    if counted is not None:
        kept = sum_of_samples(counted.to(lengths), sample, lengths)
        difference = difference.where(counted | (kept == 0)[sample], 0.0)
        lengths = kept.where(kept > 0, lengths)
    return torch.exp(sum_of_samples(difference, sample, lengths) / lengths)[sample]


def sum_of_samples(values: Tensor, sample: Tensor, lengths: Tensor) -> Tensor:
    """[S] the sum of [T] values over each sample."""
    return values.new_zeros(len(lengths)).index_add(0, sample, values)


def unclipped(loss: Tensor, ratio: Tensor) -> Surrogate:
    """A loss that clips nothing."""
    nowhere = torch.zeros_like(loss, dtype=torch.bool)
    return Surrogate(loss, ratio.detach(), nowhere, nowhere)
