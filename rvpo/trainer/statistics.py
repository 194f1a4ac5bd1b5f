"""Statistics of a policy update's tokens, summed over micro-batches and ranks.

A name that TRL has too is the same number here, of the trained samples: `loss` and `policy_loss`,
what is minimised with and without the entropy bonus, the latter where there is one; `entropy`;
`kl`, the k3 estimate (times the ratio with `kl: ratio_k3`), whichever estimator is minimised;
`clip_ratio/*`, of tokens, or of samples where gspo clips those, and of the samples' shares
`low_min` and `high_max`; `cispo_clip_ratio` in its place with cispo;
`sampling/importance_sampling_ratio/*`, what the correction multiplies losses by, of tokens or of
samples as it goes. What was masked is not in them, where TRL counts it in shares of samples as a
ratio of 1. With a correction that masks tokens, gspo, luspo and vespo make a sample's ratio of its
other tokens, and TRL of all. Means and extremes are exact over the micro-batches and updates of a
step, where TRL takes the mean over those of theirs. Of our own are `kl_k1` and `kl_k2`, where they
are minimised, `ratio`, and `sampling/raw_ratio/*`, the importance weights of tokens before any
correction.
"""

from __future__ import annotations

import math
from dataclasses import replace

import torch
from torch import Tensor

from rvpo.config.update import UpdateConfig
from rvpo.losses import Surrogate
from rvpo.runtime.ranks import Ranks
from rvpo.trainer.batch import MicroBatch
from rvpo.trainer.objective import Outcome

_APPLIED, _RAW = "sampling/importance_sampling_ratio", "sampling/raw_ratio"
_DIFFERENCE = "sampling/sampling_logp_difference"
_CLIPS = ("clip_ratio/low_mean", "clip_ratio/high_mean", "clip_ratio/region_mean")
_MEANS = (
    *("entropy", "kl", "kl_k1", "kl_k2", "ratio", *_CLIPS, "cispo_clip_ratio"),
    *(f"{_DIFFERENCE}/mean", f"{_APPLIED}/mean", f"{_RAW}/mean"),
)
_LARGEST = ("clip_ratio/high_max", f"{_DIFFERENCE}/max", f"{_APPLIED}/max", f"{_RAW}/max")
_SMALLEST = ("clip_ratio/low_min", f"{_APPLIED}/min", f"{_RAW}/min")


class TokenStatistics:
    """Sums and extremes over the trained tokens of a step, which may be several updates.

    What the settings leave undefined is left out; which ranks had a micro-batch does not matter.
    """

    def __init__(self, config: UpdateConfig) -> None:
        self._config = config
        self._loss = self._policy_loss = self._prompts = 0.0
        self._sums = dict.fromkeys(_MEANS, 0.0)
        self._counts = dict.fromkeys(_MEANS, 0.0)
        self._extremes = dict.fromkeys((*_LARGEST, *_SMALLEST), -math.inf)  # the smallest negated

    def add(self, batch: MicroBatch, outcome: Outcome, entropy: Tensor) -> None:
        """Count one micro-batch and its [T] entropies."""
        if not batch.counts:
            return
        self._prompts += len(batch.spans)
        self._loss += float(outcome.loss.detach())
        self._policy_loss += float(outcome.policy_loss.detach())
        if batch.drawn is not None:
            if not bool(batch.drawn.any()):
                return
            batch, outcome, entropy = _drawn_alone(batch, batch.drawn, outcome, entropy)
        self._count({"entropy": entropy, "ratio": outcome.surrogate.ratio})
        self._count_kl(outcome)
        self._count_clips(batch, outcome)
        self._count_sampling(batch, outcome)

    def metrics(self, ranks: Ranks, updates: int = 1) -> dict[str, float]:
        """Means and extremes over all ranks, and losses over the `updates` of the step."""
        loss, policy_loss, prompts, *parts = ranks.sum(
            [
                *(self._loss, self._policy_loss, self._prompts),
                *self._sums.values(),
                *self._counts.values(),
            ]
        )
        sums, counts = parts[: len(_MEANS)], parts[len(_MEANS) :]
        extremes = dict(zip(self._extremes, ranks.max([*self._extremes.values()]), strict=True))
        metrics = {"loss": loss / updates, "update/prompt_passes": prompts}
        if self._config.entropy_bonus:
            metrics["policy_loss"] = policy_loss / updates
        for name, total, count in zip(_MEANS, sums, counts, strict=True):
            if count:
                metrics[name] = total / count
        for name, value in extremes.items():
            if value > -math.inf:
                metrics[name] = -value if name in _SMALLEST else value
        return metrics

    def _count_kl(self, outcome: Outcome) -> None:
        if outcome.kl is None or outcome.kl_loss is None:
            return
        self._count({"kl": outcome.kl.detach()})
        if self._config.kl in ("k1", "k2"):
            self._count({f"kl_{self._config.kl}": outcome.kl_loss.detach()})

    def _count_clips(self, batch: MicroBatch, outcome: Outcome) -> None:
        low, high = outcome.surrogate.clipped_low, outcome.surrogate.clipped_high
        clips = self._config.loss.clips
        if clips == "weights":
            self._count({"cispo_clip_ratio": high})
        if clips in ("weights", "nothing"):
            return
        low_of_samples, high_of_samples = (_of_samples(x, batch) for x in (low, high))
        if clips == "samples":
            low, high = low_of_samples, high_of_samples
        self._count(dict(zip(_CLIPS, (low, high, low + high), strict=True)))
        self._reach("clip_ratio/low_min", -low_of_samples)
        self._reach("clip_ratio/high_max", high_of_samples)

    def _count_sampling(self, batch: MicroBatch, outcome: Outcome) -> None:
        difference = outcome.old_logprobs - batch.sampled_logprobs
        self._count({f"{_DIFFERENCE}/mean": difference.abs()})
        self._reach(f"{_DIFFERENCE}/max", difference.abs())
        self._count_spread(_RAW, torch.exp(difference))
        match self._config.correction.corrected:
            case "sequence":
                self._count_spread(_APPLIED, _of_samples(outcome.importance, batch))
            case "token":
                self._count_spread(_APPLIED, outcome.importance)

    def _count_spread(self, prefix: str, values: Tensor) -> None:
        self._count({f"{prefix}/mean": values})
        self._reach(f"{prefix}/max", values)
        self._reach(f"{prefix}/min", -values)

    def _count(self, parts: dict[str, Tensor]) -> None:
        for name, values in parts.items():
            self._sums[name] += float(values.double().sum())
            self._counts[name] += len(values)

    def _reach(self, name: str, values: Tensor) -> None:
        self._extremes[name] = max(self._extremes[name], float(values.max()))


def _of_samples(values: Tensor, batch: MicroBatch) -> Tensor:
    """[samples] the mean over the tokens of each."""
    sums = torch.zeros(len(batch.lengths), dtype=torch.float64, device=values.device)
    return sums.index_add(0, batch.sample, values.double()) / batch.lengths


def _drawn_alone(
    batch: MicroBatch, drawn: Tensor, outcome: Outcome, entropy: Tensor
) -> tuple[MicroBatch, Outcome, Tensor]:
    """The same, of the tokens that the policy drew.

    Args:
        drawn: [T] bool.
    """

    def kept(values: Tensor | None) -> Tensor | None:
        return None if values is None else values[drawn]

    surrogate = outcome.surrogate
    alone = replace(
        batch,
        sample=batch.sample[drawn],
        lengths=batch.drawn_lengths,
        sampled_logprobs=batch.sampled_logprobs[drawn],
        drawn=None,
    )
    told = replace(
        outcome,
        surrogate=Surrogate(
            loss=surrogate.loss[drawn],
            ratio=surrogate.ratio[drawn],
            clipped_low=surrogate.clipped_low[drawn],
            clipped_high=surrogate.clipped_high[drawn],
        ),
        old_logprobs=outcome.old_logprobs[drawn],
        importance=outcome.importance[drawn],
        kl=kept(outcome.kl),
        kl_loss=kept(outcome.kl_loss),
    )
    return alone, told, entropy[drawn]
