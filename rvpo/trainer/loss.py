"""The losses of a policy update, token by token, each with its equation.

ρ is the probability ratio π / π_old of a token, or of its whole sample; A the advantage of the
token's sample. What a step minimises is the sum of these values times the weights of the tokens in
`trainer.weighting`.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True, slots=True)
class Surrogate:
    """Per-token loss and where its clip holds."""

    loss: Tensor  # [T]
    ratio: Tensor  # [T] ρ, without gradient
    clipped_low: Tensor  # [T] bool
    clipped_high: Tensor  # [T] bool


def token_ratio(logprobs: Tensor, old_logprobs: Tensor) -> Tensor:
    """[T] ρ_t = π(a_t) / π_old(a_t), within e^±20: further away it would overflow to a gradient
    that is no number, and clipping is at work long before."""
    return torch.exp((logprobs - old_logprobs).clamp(-20, 20))


def sequence_ratio(
    logprobs: Tensor, old_logprobs: Tensor, sample: Tensor, lengths: Tensor
) -> Tensor:
    """[T] GSPO's ratio of a whole sample, at each of its tokens.

        s_i = exp(mean_t (log π(a_t) − log π_old(a_t)))

    Args:
        sample: [T] which sample a token is of.
        lengths: [samples].

    Source: Zheng et al. 2025, arXiv:2507.18071, eq. 7.
    """
    difference = logprobs - old_logprobs
    mean = difference.new_zeros(len(lengths)).index_add(0, sample, difference) / lengths
    return torch.exp(mean)[sample]


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


def cispo(logprobs: Tensor, ratio: Tensor, advantages: Tensor, cap: float) -> Surrogate:
    """CISPO: the ratio is clipped as a weight, so no token loses its gradient.

        L = −sg(min(ρ, cap)) A log π

    Args:
        logprobs: [T] log π, with gradient.
        ratio: [T] ρ.
        advantages: [T].

    Source: MiniMax-M1, arXiv:2506.13585, eq. 4 and 5.
    """
    ratio = ratio.detach()
    return Surrogate(
        loss=-ratio.clamp(max=cap) * advantages * logprobs,
        ratio=ratio,
        clipped_low=torch.zeros_like(ratio, dtype=torch.bool),
        clipped_high=(ratio > cap) & (advantages > 0),
    )


def kl_k1(logprobs: Tensor, reference_logprobs: Tensor) -> Tensor:
    """[T] log π − log π_ref: unbiased as a value; its own gradient is zero in expectation.

    Source: Schulman 2020, "Approximating KL divergence".
    """
    return logprobs - reference_logprobs


def kl_k2(logprobs: Tensor, reference_logprobs: Tensor) -> Tensor:
    """[T] (log π − log π_ref)² / 2: biased as a value; its gradient is that of KL(π ‖ π_ref).

    Source: Schulman 2020, "Approximating KL divergence".
    """
    return (logprobs - reference_logprobs).square() / 2


def kl_k3(logprobs: Tensor, reference_logprobs: Tensor) -> Tensor:
    """[T] unbiased, non-negative estimate of KL(π ‖ π_ref) at each sampled token.

        e^d − d − 1,   d = log π_ref − log π

    Its gradient (1 − e^d) ∇log π averages to that of KL(π_ref ‖ π), the other divergence. Times ρ
    with its gradient it has that of KL(π ‖ π_ref): ρ (log π − log π_ref) ∇log π.

    Source: Shao et al. 2024, arXiv:2402.03300, eq. 4; ρ: DeepSeek-V3.2, arXiv:2512.02556.
    """
    difference = reference_logprobs - logprobs
    return torch.expm1(difference) - difference
