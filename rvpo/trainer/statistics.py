"""What a policy update reports about its tokens, summed over micro-batches and ranks."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from rvpo.trainer.batch import MicroBatch
from rvpo.trainer.objective import Outcome
from rvpo.trainer.ranks import Ranks

_MEANS = {
    "policy_loss": "loss",
    "entropy": "entropy",
    "kl": "kl",
    "clip_ratio/low_mean": "clipped_low",
    "clip_ratio/high_mean": "clipped_high",
    "sampling/sampling_logp_difference/mean": "difference",
    "sampling/importance_sampling_ratio/mean": "importance",
    "ratio": "ratio",
}


class TokenStatistics:
    """Sums and extremes over the trained tokens of an update."""

    def __init__(self) -> None:
        self._tokens = 0.0
        self._prompts = 0.0
        self._sums = dict.fromkeys(_MEANS.values(), 0.0)
        self._max_difference = 0.0
        self._max_importance = 0.0
        self._min_importance = math.inf
        self._has_kl = False

    def add(self, batch: MicroBatch, outcome: Outcome, entropy: Tensor) -> None:
        """Count one micro-batch and its [T] entropies."""
        if not batch.counts:
            return
        self._tokens += len(entropy)
        self._prompts += len(batch.spans)
        surrogate, kl = outcome.surrogate, outcome.kl
        difference = (outcome.old_logprobs - batch.sampled_logprobs).abs()
        importance = torch.exp(outcome.old_logprobs - batch.sampled_logprobs)
        parts = {
            "loss": surrogate.loss.detach(),
            "entropy": entropy,
            "clipped_low": surrogate.clipped_low,
            "clipped_high": surrogate.clipped_high,
            "difference": difference,
            "ratio": surrogate.ratio,
            "importance": importance,
        }
        if kl is not None:
            parts["kl"] = kl.detach()
            self._has_kl = True
        for name, value in parts.items():
            self._sums[name] += float(value.double().sum())
        self._max_difference = max(self._max_difference, float(difference.max()))
        self._max_importance = max(self._max_importance, float(importance.max()))
        self._min_importance = min(self._min_importance, float(importance.min()))

    def metrics(self, ranks: Ranks) -> dict[str, float]:
        """Means and extremes over all ranks, under TRL's names."""
        tokens, prompts, *sums = ranks.sum([self._tokens, self._prompts, *self._sums.values()])
        difference, importance, negated_min = ranks.max(
            [self._max_difference, self._max_importance, -self._min_importance]
        )
        means = dict(zip(self._sums, [value / tokens for value in sums], strict=True))
        result = {name: means[part] for name, part in _MEANS.items()}
        result["clip_ratio/region_mean"] = means["clipped_low"] + means["clipped_high"]
        if not self._has_kl:
            del result["kl"]
        return result | {
            "update/prompt_passes": prompts,
            "sampling/sampling_logp_difference/max": difference,
            "sampling/importance_sampling_ratio/min": -negated_min,
            "sampling/importance_sampling_ratio/max": importance,
        }
