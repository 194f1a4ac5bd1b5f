"""What a policy update minimises, made of the parts that the settings name."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from rvpo.config import UpdateConfig
from rvpo.trainer.batch import MicroBatch
from rvpo.trainer.correction import importance_weights
from rvpo.trainer.loss import (
    Surrogate,
    cispo,
    clipped,
    kl_k1,
    kl_k2,
    kl_k3,
    sequence_ratio,
    token_ratio,
)
from rvpo.trainer.weighting import Weighting

WEIGHTINGS: dict[str, Weighting] = {
    "grpo": "sequence_mean",
    "bnpo": "row_mean",
    "dapo": "token_mean",
    "dr_grpo": "constant",
    "gspo": "sequence_mean",
    "cispo": "token_mean",
}
"""How each loss counts its tokens."""

_KL = {"k1": kl_k1, "k2": kl_k2, "k3": kl_k3}


@dataclass(frozen=True, slots=True)
class Outcome:
    """A micro-batch's losses, and what is reported of them."""

    loss: Tensor  # scalar, the micro-batch's part of the step's loss
    surrogate: Surrogate
    old_logprobs: Tensor  # [T] of the policy before the step
    kl: Tensor | None  # [T]


def objective(
    config: UpdateConfig,
    batch: MicroBatch,
    logprobs: Tensor,
    entropy: Tensor,
    reference_logprobs: Tensor | None,
) -> Outcome:
    """The weighted sum over tokens of w·loss + beta·KL - bonus·entropy.

    Args:
        logprobs: [T] of the policy, with gradient.
        entropy: [T], with gradient.
        reference_logprobs: [T], needed where `config.beta` is above 0.
    """
    old = logprobs.detach() if batch.old_logprobs is None else batch.old_logprobs
    surrogate = _surrogate(config, batch, logprobs, old)
    importance = importance_weights(
        config.correction,
        old,
        batch.sampled_logprobs,
        batch.sample,
        len(batch.lengths),
        config.correction_cap,
    )
    losses = importance * surrogate.loss
    kl = None
    if reference_logprobs is not None:
        kl = _KL[config.kl](logprobs, reference_logprobs)
        losses = losses + config.beta * kl
    if config.entropy_bonus:
        losses = losses - config.entropy_bonus * entropy
    loss = (losses * batch.weights).sum() * float(batch.counts)
    return Outcome(loss=loss, surrogate=surrogate, old_logprobs=old, kl=kl)


def _surrogate(config: UpdateConfig, batch: MicroBatch, logprobs: Tensor, old: Tensor) -> Surrogate:
    high = config.epsilon_high or config.epsilon
    if config.loss == "cispo":
        return cispo(logprobs, token_ratio(logprobs, old), batch.advantages, high)
    if config.loss == "gspo":
        ratio = sequence_ratio(logprobs, old, batch.sample, batch.lengths)
    else:
        ratio = token_ratio(logprobs, old)
    return clipped(ratio, batch.advantages, config.epsilon, high, config.dual_clip)
