"""A causal language model that scores the completions of a micro-batch."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from rvpo.trainer.attention import SHARED_PROMPT, leave_out_cudnn, register
from rvpo.trainer.batch import MicroBatch
from rvpo.trainer.logprobs import LogprobHead, logprobs_of


class Scorer(nn.Module):
    """Log-probabilities and entropies at completion tokens, over the tokens that could be drawn
    there, by one of two ways.

    Packed: the completions of a prompt share it in one row, and logits exist for a chunk of tokens
    at a time. Single, for models that cannot be packed: a sample a row through the model's own
    forward pass.

    Args:
        model: the one that transformers loads, with the attention "sdpa".
        temperature: used for sampling.
        chunk: see `LogprobHead`.
    """

    def __init__(self, model: Any, temperature: float, chunk: int) -> None:
        super().__init__()
        register()
        leave_out_cudnn()
        self.model = model
        self.head = LogprobHead(model.get_output_embeddings(), temperature, chunk)
        self._temperature = temperature
        self.is_packed = False

    def choose(self, is_packed: bool) -> None:
        """Score packed rows or single samples from now on."""
        self.is_packed = is_packed
        self.model.set_attn_implementation(SHARED_PROMPT if is_packed else "sdpa")

    def forward(self, batch: MicroBatch) -> tuple[Tensor, Tensor]:
        """[T] log-probabilities in fp32 with gradient, and [T] entropies."""
        return self._packed(batch) if self.is_packed else self._single(batch)

    def _packed(self, batch: MicroBatch) -> tuple[Tensor, Tensor]:
        hidden = self.model.get_decoder()(
            input_ids=batch.input_ids,
            position_ids=batch.position_ids,
            use_cache=False,
            spans=batch.spans,
        ).last_hidden_state
        logprobs, entropy = self.head(
            hidden[0, batch.predecessors], batch.completion_ids, batch.supports
        )
        return logprobs, entropy

    def _single(self, batch: MicroBatch) -> tuple[Tensor, Tensor]:
        logits = self.model(
            input_ids=batch.input_ids,
            position_ids=batch.position_ids,
            logits_to_keep=batch.predecessors,
            use_cache=False,
        ).logits[0]
        return logprobs_of(logits.float() / self._temperature, batch.completion_ids, batch.supports)


def score_without_gradient(engine: Any, batch: MicroBatch) -> Tensor:
    """[T] log-probabilities without dropout; `engine` is a DeepSpeed engine around a `Scorer`, and
    is left in evaluation mode."""
    engine.eval()
    with torch.no_grad():
        logprobs: Tensor = engine(batch)[0]
    return logprobs
