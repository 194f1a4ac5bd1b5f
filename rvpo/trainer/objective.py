"""The objective of a policy update, made of the parts that the settings name."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from rvpo.config.update import UpdateConfig
from rvpo.corrections.correction import Corrected
from rvpo.losses import LossInputs, Surrogate
from rvpo.trainer.batch import MicroBatch
from rvpo.trainer.kl import KL


@dataclass(frozen=True, slots=True)
class Outcome:
    """A micro-batch's losses, and what is reported of them."""

    loss: Tensor  # scalar, the micro-batch's part of the step's loss
    policy_loss: Tensor  # scalar, the same before the entropy bonus
    surrogate: Surrogate
    old_logprobs: Tensor  # [T] of the policy before the step
    importance: Tensor  # [T] what the correction multiplies losses by
    kl: Tensor | None  # [T] by k3, times ρ where that is what is minimised
    kl_loss: Tensor | None  # [T] by the chosen estimator


def objective(
    config: UpdateConfig,
    batch: MicroBatch,
    logprobs: Tensor,
    entropy: Tensor,
    reference_logprobs: Tensor | None,
) -> Outcome:
    """The weighted sum over tokens of w·loss + beta·KL, less bonus times the mean entropy.

    That mean is over all tokens of the optimizer update whatever the weights, as in TRL, so that a
    bonus means the same with every loss.

    Args:
        logprobs: [T] the policy's, with gradient.
        entropy: [T], with gradient.
        reference_logprobs: [T], needed where `config.beta` is above 0.
    """
    old = logprobs.detach() if batch.old_logprobs is None else batch.old_logprobs
    if batch.drawn is not None:  # what nobody drew is as it was, and nothing moves it
        logprobs, entropy = logprobs.where(batch.drawn, old), entropy.where(batch.drawn, 0.0)
        if reference_logprobs is not None:
            reference_logprobs = reference_logprobs.where(batch.drawn, old)
    corrected = _corrected(config, batch, old)
    inputs = LossInputs(
        logprobs=logprobs,
        old_logprobs=old,
        advantages=batch.advantages,
        importance=corrected.factors,
        sample=batch.sample,
        lengths=batch.drawn_lengths,
        counted=corrected.counted,
    )
    surrogate = config.loss(inputs)
    losses = surrogate.loss if config.loss.corrects else corrected.factors * surrogate.loss
    kl = kl_loss = None
    if reference_logprobs is not None:
        ratio = config.loss.ratio(inputs)
        kl_loss = KL[config.kl](logprobs, reference_logprobs, ratio)
        kl = kl_loss if config.kl == "ratio_k3" else KL["k3"](logprobs, reference_logprobs, ratio)
        losses = losses + config.beta * kl_loss
    if batch.drawn is not None:
        losses = losses.where(batch.drawn, 0.0)
    policy_loss = (losses * batch.weights).sum() * float(batch.counts)
    loss = policy_loss
    if config.entropy_bonus:
        bonus = config.entropy_bonus * entropy.sum() / batch.update_tokens
        loss = loss - bonus * float(batch.counts)
    return Outcome(
        loss=loss,
        policy_loss=policy_loss,
        surrogate=surrogate,
        old_logprobs=old,
        importance=corrected.factors,
        kl=kl,
        kl_loss=kl_loss,
    )


def _corrected(config: UpdateConfig, batch: MicroBatch, old_logprobs: Tensor) -> Corrected:
    """Importance weights of the tokens that the policy drew; no other one counts."""
    sampled = batch.sampled_logprobs
    if batch.drawn is not None:  # to whatever weight a whole sample has they add nothing
        sampled = sampled.where(batch.drawn, old_logprobs)
    corrected = config.correction.correct(
        old_logprobs, sampled, batch.sample, len(batch.lengths), batch.ages
    )
    if batch.drawn is None:
        return corrected
    return Corrected(corrected.factors.where(batch.drawn, 0.0), corrected.counted & batch.drawn)
