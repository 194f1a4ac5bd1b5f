"""What is done about samples that the engine drew from a slightly other policy than the trainer's.

The engine computes with other kernels and in another precision, and with staleness it has older
weights. w is the ratio of the policy before the step to the one that sampled, of a token or the
product over a sample's; a token's loss is multiplied by what is made of it.

Source: Yao et al. 2025, "Your efficient RL framework secretly brings you off-policy training".
"""

from __future__ import annotations

import torch
from torch import Tensor

from rvpo.trainer.config import Correction


def importance_weights(
    correction: Correction,
    old_logprobs: Tensor,
    sampled_logprobs: Tensor,
    sample: Tensor,
    count: int,
    cap: float,
    floor: float | None = None,
) -> Tensor:
    """[T] factors of the tokens' losses.

        truncate    min(max(w, c), C)
        mask        w where c ≤ w ≤ C, else 0

    Args:
        old_logprobs: [T] of the trainer's policy before the step.
        sampled_logprobs: [T] of the engine.
        sample: [T] which sample a token is of.
        count: number of samples.
        cap: C.
        floor: c; if left out, 0 where weights are truncated and 1/C where they are masked.
    """
    if correction == "none":
        return torch.ones_like(old_logprobs)
    log_w = old_logprobs - sampled_logprobs
    if correction.startswith("sequence"):
        log_w = log_w.new_zeros(count).index_add(0, sample, log_w)[sample]
    w = torch.exp(log_w)
    if correction.endswith("truncate"):
        return w.clamp(min=floor, max=cap)
    least = 1 / cap if floor is None else floor
    return torch.where((w >= least) & (w <= cap), w, 0.0)
