"""A trial of packed rows with a model, before its log-probabilities there are trusted."""

from __future__ import annotations

import math
import random
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Final

import torch
from torch import Tensor

from rvpo.runtime.ranks import Ranks
from rvpo.trainer.batch import MicroBatch, PackedRow, TrainedSample, arrange, micro_batches
from rvpo.trainer.scorer import score_without_gradient

_ROUNDING: Final = 3.0
"""Rounding in another order takes packed rows no more times as far from a model as another layout
takes the model itself: it is 0.3 to 1.1 times in bf16, and with wrong positions 7 and more."""
_LEAST: Final = {torch.float32: 1e-3, torch.bfloat16: 0.1}
"""Nats that are let pass in any case, for a model that rounds alike in every layout."""


@dataclass(frozen=True, slots=True)
class Yardstick:
    """The model's own log-probabilities of a few tokens, and how far rounding alone moves them."""

    logprobs: Tensor  # [T]
    rounding: float
    """Their mean difference, in nats, where the rows are longer, which nothing before sees."""
    dtype: torch.dtype = torch.float32
    """Type of the weights that compute."""

    @property
    def limit(self) -> float:
        """Mean difference that rounding explains."""
        return max(_LEAST[self.dtype], _ROUNDING * self.rounding)

    def distance(self, logprobs: Tensor) -> float:
        """Mean difference of other log-probabilities of the same tokens, in nats."""
        return float((logprobs - self.logprobs).abs().mean())


@dataclass(frozen=True, slots=True)
class PackingTrial:
    """The outcome of a trial of packed rows."""

    fault: str | None
    """Reason that they give other log-probabilities than the model itself; None where they do
    not."""
    distance: float = math.nan
    """Their mean difference from the model's own, in nats."""


def yardstick(engine: Any, ranks: Ranks) -> Yardstick:
    """Score a few samples by the model's own forward pass, in rows of two lengths.

    Args:
        engine: a DeepSpeed engine around a `Scorer`. Every rank must call.
    """
    samples = _samples(_vocabulary(engine))
    engine.module.choose(False)
    alone = _tensors(_rows_of_one(samples), ranks)
    tail = torch.tensor([samples[-1].prompt_ids], device=ranks.device)
    single = [_scored(engine, [batch]) for batch in alone]
    some = range(0, len(alone), 3)  # each costs a gathering of the whole model
    longer = [_scored(engine, [_lengthened(alone[i], tail)]) for i in some]
    moved = torch.cat([long - single[i] for i, long in zip(some, longer, strict=True)])
    return Yardstick(
        logprobs=torch.cat(single),
        rounding=float(moved.abs().mean()),
        dtype=next(engine.module.parameters()).dtype,
    )


def score_alone(engine: Any, ranks: Ranks) -> Tensor:
    """[T] log-probabilities of a yardstick's samples, by the model's own forward pass."""
    engine.module.choose(False)
    return _scored(engine, _tensors(_rows_of_one(_samples(_vocabulary(engine))), ranks))


def try_packing(engine: Any, ranks: Ranks, expected: Yardstick) -> PackingTrial:
    """Score the samples of a yardstick in a packed row; `engine` as there."""
    structure = _structure(engine.module.model)
    if structure is not None:
        return PackingTrial(structure)
    (row,) = arrange(_samples(_vocabulary(engine)), tokens=2**20)
    engine.module.choose(True)
    reason, distance = "", math.nan
    try:
        packed = _scored(engine, _tensors([row], ranks))
    except (TypeError, ValueError, AttributeError, NotImplementedError) as error:
        reason = f"{type(error).__name__}: {error}"
    else:
        distance = expected.distance(packed)
        if not distance <= expected.limit:
            reason = f"its log-probabilities would be off by {distance:.2g} in the mean"
    return PackingTrial(next(filter(None, ranks.gather_objects(reason)), None), distance)


def _vocabulary(engine: Any) -> int:
    return int(engine.module.model.config.get_text_config().vocab_size)


def _scored(engine: Any, batches: Sequence[MicroBatch]) -> Tensor:
    return torch.cat([score_without_gradient(engine, batch) for batch in batches])


def _rows_of_one(samples: Sequence[TrainedSample]) -> list[PackedRow]:
    """Each sample in a row of its own, in the order of the packed row."""
    (row,) = arrange(samples, tokens=2**20)
    return arrange([s for part in row for s in part.samples], tokens=1, is_shared=False)


def _lengthened(batch: MicroBatch, tail: Tensor) -> MicroBatch:
    """The batch with tokens behind its sample, of which that sees nothing."""
    ids = torch.cat((batch.input_ids, tail), dim=1)
    positions = torch.arange(ids.shape[1], device=ids.device)[None]
    return replace(batch, input_ids=ids, position_ids=positions)


def _structure(model: Any) -> str | None:
    """Reason in a model's structure, which numbers with small weights would not show; None
    without."""
    config = model.config.get_text_config()
    for name in ("final_logit_softcapping", "logits_scaling", "logit_scale"):
        if getattr(config, name, None) not in (None, 1.0):
            return f"its output layer has {name}"
    kinds = set(getattr(config, "layer_types", None) or ())
    others = kinds - {"full_attention", "sliding_attention"}
    if others:
        return f"it has layers of {min(others)}"
    # Recurrent layers come with one, and carry a state from sample to sample of a row.
    if any(isinstance(module, torch.nn.Conv1d) for module in model.modules()):
        return "it has layers that are not attention"
    return None


def _samples(vocabulary: int) -> list[TrainedSample]:
    """Two groups of three samples, of tokens that nobody would write."""
    chance = random.Random(0)

    def draw(length: int) -> tuple[int, ...]:
        return tuple(chance.randrange(vocabulary) for _ in range(length))

    return [
        TrainedSample(
            prompt_id="",
            prompt_ids=prompt,
            completion_ids=draw(length),
            sampled_logprobs=(0.0,) * length,
            advantage=0.0,
        )
        for prompt in (draw(6), draw(9))
        for length in (4, 7, 5)
    ]


def _tensors(rows: Sequence[PackedRow], ranks: Ranks) -> list[MicroBatch]:
    weights = [0.0 for row in rows for part in row for _ in part.samples]
    return micro_batches(rows, weights, ranks.device)
