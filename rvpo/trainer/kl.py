"""Estimators of the KL divergence to the reference model, token by token.

Each takes the [T] log-probabilities of the policy, with gradient, those of the reference, and the
probability ratio ρ = π / π_old of the loss.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

from rvpo.lazy import torch

if TYPE_CHECKING:
    from torch import Tensor


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


KL: Mapping[str, Callable[[Tensor, Tensor, Tensor], Tensor]] = {
    "k1": lambda logprobs, reference, ratio: kl_k1(logprobs, reference),
    "k2": lambda logprobs, reference, ratio: kl_k2(logprobs, reference),
    "k3": lambda logprobs, reference, ratio: kl_k3(logprobs, reference),
    "ratio_k3": lambda logprobs, reference, ratio: ratio * kl_k3(logprobs, reference),
}
"""Estimators that `update.kl` may choose."""
