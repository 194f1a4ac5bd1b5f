"""The settings of a policy update."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated, Literal

from pydantic import Field

from rvpo.settings import (
    Decay,
    Float,
    Fraction,
    NonNegativeFloat,
    PositiveFloat,
    PositiveInt,
    Section,
)

Correction = Literal["none", "token_truncate", "token_mask", "sequence_truncate", "sequence_mask"]


class UpdateConfig(Section):
    lr: NonNegativeFloat = 1e-6
    """Learning rate of AdamW, after warm-up."""
    schedule: Literal["constant", "linear", "cosine"] = "constant"
    """What the learning rate does after warm-up: stays, or falls step by step towards 0."""
    warmup_fraction: Fraction = 0.0
    """Share of the steps over which the learning rate rises, in equal parts, to `lr`."""
    betas: tuple[Decay, Decay] = (0.9, 0.999)
    """Decay of AdamW's two moving averages: of gradients, and of their squares."""
    weight_decay: NonNegativeFloat = 0.0
    """Of matrices; norms and biases do not decay."""
    max_grad_norm: PositiveFloat = 1.0
    """Gradients whose norm is larger are scaled down to it."""
    loss: Literal["dapo", "grpo", "bnpo", "dr_grpo", "gspo", "cispo"] = "dapo"
    """Which ratio is clipped how, and how tokens are averaged: dapo and cispo over all tokens of
    the optimizer update, grpo and gspo over each sample and then over samples, dr_grpo by the
    longest possible completion, bnpo over each micro-batch and then over micro-batches, so that it
    depends on `micro_batch_tokens` and, of one sample a row, is grpo; gspo clips the ratio of whole
    samples, cispo the weight of a token instead of its loss."""
    epsilon: PositiveFloat = 0.2
    """How far below 1 the probability ratio may fall before it is clipped; cispo has none."""
    epsilon_high: PositiveFloat | None = None
    """How far above 1 it may rise; `epsilon` if left out. With cispo the largest ratio itself,
    such as 5."""
    dual_clip: Annotated[Float, Field(gt=1)] | None = None
    """Bound of the ratio where the advantage is negative, such as 3, at least 1 + `epsilon_high`,
    from where on it is TRL's `delta`; none if left out. cispo has none."""
    mini_batches: PositiveInt = 1
    """Optimizer updates that share the prompts of a step among them."""
    epochs: PositiveInt = 1
    """How often each of them is made."""
    beta: NonNegativeFloat = 0.0
    """Weight of the KL loss to the reference model, the initial policy; 0 loads none."""
    kl: Literal["k1", "k2", "k3", "ratio_k3"] = "k3"
    """Its estimator, d being log reference less log policy. k3 is e^d - d - 1, of the GRPO paper:
    it differentiates to the gradient of KL(reference, policy). ratio_k3 is k3 times the probability
    ratio, of DeepSeek-V3.2 and TRL's default: to that of KL(policy, reference). k2 is d²/2: to the
    same while samples are on-policy. k1 is -d: to nothing but noise."""
    entropy_bonus: Float = 0.0
    """Weight of the entropy, which is maximised: its mean over all tokens of the optimizer update,
    whatever the loss, as TRL's `entropy_coef`."""
    correction: Correction = "token_truncate"
    """What is done about samples that the engine drew from a slightly other policy than the one
    that learns: their importance weights, of tokens or whole samples, are truncated or masked."""
    correction_cap: Annotated[Float, Field(gt=1)] = 2.0
    """Largest importance weight."""
    correction_floor: NonNegativeFloat | None = None
    """Smallest importance weight: less is masked, or raised to it. If left out, 0 where weights are
    truncated and the inverse of `correction_cap` where they are masked. TRL's default is 0 in both,
    with sequence_mask and a cap of 3."""
    mask_truncated: bool = False
    """Leave out of the loss the completions that were cut off by their length."""
    left_out: Literal["drop", "count"] = "drop"
    """What becomes of completions that were cut off, with `mask_truncated`, and of those without a
    score. drop: they leave the normaliser of the loss and the metrics of tokens too, so that the
    mean is over what is trained. count is TRL's: what was cut off stays in the number of samples
    that grpo, gspo and dr_grpo divide by, and the others stay in everything with an advantage of 0,
    also in the KL and the entropy."""
    micro_batch_tokens: PositiveInt = 2048
    """Longest row of one forward and backward pass: prompts, each once, and completions, which have
    a quarter of it even beside a longer prompt."""
    logits_chunk: PositiveInt = 512
    """Tokens whose logits over the vocabulary exist at the same time."""
    activation_checkpointing: bool = False
    """Recompute activations in the backward pass: less memory, more time."""
    offload_optimizer: bool = False
    """Keep the optimizer state in CPU memory while training on a GPU."""

    def problems(self) -> Iterator[str]:
        """What is wrong with settings that are each allowed, a sentence each."""
        if self.loss == "cispo":
            yield from self._cispo_problems()
        elif self.dual_clip is not None and self.dual_clip < 1 + self.largest_rise:
            yield (
                f"update.dual_clip: {self.dual_clip} would bound the ratio before "
                f"update.epsilon_high clips it; make it at least {1 + self.largest_rise:g}, such "
                "as 3"
            )
        if self.loss == "gspo" and "epsilon" not in self.model_fields_set:
            yield (
                "update.epsilon: gspo's ratio is a mean over a whole response and moves far less "
                "than a token's, which the usual 0.2 is for; give one, such as epsilon: 3e-4 and "
                "epsilon_high: 4e-4 of its paper"
            )
        if (self.correction_floor or 0) > self.correction_cap:
            yield (
                f"update.correction_floor: {self.correction_floor} is above "
                f"update.correction_cap={self.correction_cap}; make it smaller"
            )

    @property
    def largest_rise(self) -> float:
        """How far above 1 the ratio may rise."""
        return self.epsilon_high or self.epsilon

    def _cispo_problems(self) -> Iterator[str]:
        if (self.epsilon_high or 0) <= 1:
            yield (
                "update.epsilon_high: cispo bounds the ratio itself by it; give a number above 1, "
                "such as 5"
            )
        if self.epsilon != UpdateConfig.model_fields["epsilon"].default:
            yield (
                f"update.epsilon: {self.epsilon} does nothing with cispo, which bounds the ratio "
                "from above only; leave it out"
            )
        if self.dual_clip is not None:
            yield (
                f"update.dual_clip: {self.dual_clip} does nothing with cispo, whose "
                "update.epsilon_high bounds the ratio whatever the advantage; leave it out"
            )
