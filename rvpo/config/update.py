"""The settings of a policy update."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import partial
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BeforeValidator, Field, model_validator

from rvpo.config.deepspeed import DEEPSPEED_OPTIONS
from rvpo.config.spellings import named, with_sections
from rvpo.corrections import AnyCorrection, Truncate
from rvpo.fields import (
    Decay,
    Float,
    Fraction,
    NonNegativeFloat,
    PositiveFloat,
    PositiveInt,
    Section,
)
from rvpo.losses import DAPO, PolicyLoss


class UpdateConfig(Section):
    optimizer: Literal["adamw", "adamw_8bit", "cpu_adam"] = "adamw"
    """Optimizer: AdamW with moments in fp32; bitsandbytes' with moments of 8 bits, which take a
    quarter; or DeepSpeed's for a state in host memory, with `offload_optimizer`, compiled at its
    first use."""
    lr: NonNegativeFloat = 1e-6
    """Learning rate of AdamW, after warm-up."""
    schedule: Literal["constant", "linear", "cosine"] = "constant"
    """Course of the learning rate after warm-up: constant, or falling step by step towards 0."""
    warmup_fraction: Fraction = 0.0
    """Share of the steps over which the learning rate rises, in equal parts, to `lr`."""
    betas: tuple[Decay, Decay] = (0.9, 0.999)
    """Decay of AdamW's two moving averages: of gradients, and of their squares."""
    weight_decay: NonNegativeFloat = 0.0
    """Weight decay of matrices; norms and biases do not decay."""
    max_grad_norm: PositiveFloat = 1.0
    """Gradients whose norm is larger are scaled down to it."""
    loss: Annotated[
        PolicyLoss, Field(discriminator="name"), BeforeValidator(partial(named, name="dapo"))
    ] = DAPO()
    """Policy loss: its ratio and clipping, and its average over tokens. Its name alone, or with its
    settings; `epsilon`, `epsilon_high` and `dual_clip` may also stand beside it."""
    mini_batches: PositiveInt = 1
    """Optimizer updates that share the prompts of a step among them."""
    epochs: PositiveInt = 1
    """Passes over the mini-batches of a step."""
    beta: NonNegativeFloat = 0.0
    """Weight of the KL loss to the reference model, the initial policy; 0 loads none. With
    model.lora it is the model without its adapters, and nothing is loaded either way."""
    kl: Literal["k1", "k2", "k3", "ratio_k3"] = "k3"
    """Estimator of the KL, d being log reference less log policy. k3 is e^d - d - 1, of the GRPO
    paper: it differentiates to the gradient of KL(reference, policy). ratio_k3 is k3 times the
    probability ratio, of DeepSeek-V3.2 and TRL's default: to that of KL(policy, reference). k2 is
    d²/2: to the same while samples are on-policy. k1 is -d: to nothing but noise."""
    entropy_bonus: Float = 0.0
    """Weight of the entropy, which is maximised: its mean over all tokens of the optimizer update,
    whatever the loss, as TRL's `entropy_coef`."""
    correction: Annotated[
        AnyCorrection, Field(discriminator="name"), BeforeValidator(partial(named, name="truncate"))
    ] = Truncate()
    """Correction for samples that the engine drew from a slightly other policy than the one that
    learns: their importance weights, of tokens or whole samples, are truncated or masked, with
    mask_older also by the age of a token in updates. `token_mask`, with `correction_cap` beside it,
    is {name: mask, level: token, cap: …}."""
    mask_truncated: bool = False
    """Leave out of the loss the completions that were cut off by their length, and episodes that
    ran out of tokens."""
    left_out: Literal["drop", "count"] = "drop"
    """Treatment of completions that were cut off, with `mask_truncated`, and of those without a
    score. drop: they leave the normaliser of the loss and the metrics of tokens too, so that the
    mean is over what is trained. count is TRL's: what was cut off stays in the number of samples
    that grpo, gspo and dr_grpo divide by, and the others stay in everything with an advantage of 0,
    also in the KL and the entropy."""
    micro_batch_tokens: PositiveInt = 2048
    """Longest row of one forward and backward pass: prompts, each once, and completions, which have
    a quarter of it even beside a longer prompt."""
    logits_chunk: PositiveInt | None = None
    """Tokens whose logits over the vocabulary exist at the same time; if left out, 2048 on GPUs,
    which sum the gradient of the output layer once a chunk, and 512 on CPUs."""
    kernels: Literal["auto", "plain", "liger"] = "auto"
    """Kernels of a model's norms, gated layers and rotary positions: liger's, transformers' own
    (plain), or on GPUs liger's where liger-kernel is installed. They are tried against the plain
    ones at the start, and left where they give something else, which is said."""
    activation_checkpointing: bool = False
    """Recompute activations in the backward pass: less memory, more time."""
    offload_optimizer: bool = False
    """Keep the optimizer state in CPU memory while training on a GPU."""
    offload_while_generating: bool = True
    """Keep the optimizer state and the gradients in CPU memory while an engine generates on the
    GPU that trains, so that it may take most of that: raise its `gpu_memory`. Otherwise, and on a
    CPU, nothing moves."""
    deepspeed: Annotated[dict[str, Any], AfterValidator(DEEPSPEED_OPTIONS.checked)] = Field(
        default_factory=dict
    )
    """Settings of DeepSpeed's own, by its names, laid over rvpo's, such as {zero_optimization:
    {zero_hpz_partition_size: 8}}; null leaves one to DeepSpeed. Not those that rvpo decides: these
    are refused with the reason."""

    @model_validator(mode="before")
    @classmethod
    def _in_sections(cls, data: Any) -> Any:
        return with_sections(data) if isinstance(data, Mapping) else data

    def chunk(self, *, on_gpu: bool) -> int:
        """`logits_chunk` of a device."""
        return self.logits_chunk or (2048 if on_gpu else 512)

    def problems(self, *, has_adapters: bool = False) -> Iterator[str]:
        """Problems of settings that are each allowed, a sentence each.

        Args:
            has_adapters: the reference is the policy without its adapters.
        """
        problem = self.loss.problem(self.correction)
        if problem is not None:
            yield problem
        yield from self._optimizer_problems()
        group = self.deepspeed.get("zero_optimization", {}).get("zero_hpz_partition_size") or 1
        if group > 1 and self.beta > 0 and not has_adapters:
            yield (
                "update.deepspeed: zero_hpz_partition_size is for one model, and with update.beta "
                f"{self.beta:g} there is a reference model too, for which DeepSpeed cannot form "
                "its groups again; set update.beta=0, or leave it out"
            )

    def _optimizer_problems(self) -> Iterator[str]:
        """An optimizer whose state would be in the wrong memory."""
        if self.optimizer == "cpu_adam" and not self.offload_optimizer:
            yield (
                "update.optimizer: cpu_adam works in host memory; write "
                "update.offload_optimizer=true too, or update.optimizer=adamw"
            )
        if self.optimizer == "adamw_8bit" and self.offload_optimizer:
            yield (
                "update.optimizer: adamw_8bit keeps its moments small on a GPU, and in host memory "
                "computes with fp32 copies of them, which take more than those of adamw and many "
                "times as long; write update.offload_optimizer=false, or update.optimizer=adamw"
            )
