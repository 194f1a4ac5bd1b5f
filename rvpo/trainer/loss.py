"""The losses of a policy update, as sums over tokens; the caller divides by the step's tokens."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True, slots=True)
class ClippedLoss:
    """Per-token loss and where its clip holds."""

    loss: Tensor  # [T]
    ratio: Tensor  # [T] π / π_old
    clipped_low: Tensor  # [T] bool
    clipped_high: Tensor  # [T] bool


def clipped_surrogate(
    logprobs: Tensor,
    old_logprobs: Tensor,
    advantages: Tensor,
    epsilon: float,
    epsilon_high: float,
) -> ClippedLoss:
    """The clipped policy-gradient loss of PPO and GRPO.

        −min(ρ A, clip(ρ, 1 − ε, 1 + ε_high) A),   ρ = π / π_old

    Args:
        logprobs: [T] of the policy that learns, with gradient.
        old_logprobs: [T] of the policy that sampled.
        advantages: [T], the same for every token of a sample.

    Source: Schulman et al. 2017, arXiv:1707.06347, eq. 7; ε_high: DAPO, arXiv:2503.14476, eq. 8.
    """
    ratio = torch.exp(logprobs - old_logprobs)
    clipped = ratio.clamp(1 - epsilon, 1 + epsilon_high)
    return ClippedLoss(
        loss=-torch.minimum(ratio * advantages, clipped * advantages),
        ratio=ratio.detach(),
        clipped_low=(ratio < 1 - epsilon) & (advantages < 0),
        clipped_high=(ratio > 1 + epsilon_high) & (advantages > 0),
    )


def kl_k3(logprobs: Tensor, reference_logprobs: Tensor) -> Tensor:
    """[T] unbiased, non-negative estimate of KL(π ‖ π_ref) at each sampled token.

        e^d − d − 1,   d = log π_ref − log π

    Source: Shao et al. 2024, arXiv:2402.03300, eq. 4.
    """
    difference = reference_logprobs - logprobs
    return torch.exp(difference) - difference - 1
