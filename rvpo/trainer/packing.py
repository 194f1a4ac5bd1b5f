"""A trial of packed rows with a model, before its log-probabilities there are trusted."""

from __future__ import annotations

import random
from collections.abc import Sequence
from typing import Any, Final

import torch

from rvpo.runtime.ranks import Ranks
from rvpo.trainer.batch import MicroBatch, PackedRow, TrainedSample, arrange, micro_batches
from rvpo.trainer.scorer import score_without_gradient

_TOLERANCE: Final = {torch.float32: 1e-3, torch.bfloat16: 0.15}
"""Mean difference of log-probabilities, in nats, that rounding explains: SmolLM2 in bf16 has 0.07
here, 0.46 with wrong positions and 1.5 where completions see one another."""


def packing_fault(engine: Any, ranks: Ranks) -> str | None:
    """Reason that packed rows give other log-probabilities than the model itself; None where they
    do not.

    Args:
        engine: a DeepSpeed engine around a `Scorer`. Every rank must call.
    """
    structure = _structure(engine.module.model)
    if structure is not None:
        return structure
    samples = _samples(engine.module.model.config.get_text_config().vocab_size)
    (row,) = arrange(samples, tokens=2**20)
    alone = arrange([s for part in row for s in part.samples], tokens=1, is_shared=False)
    engine.module.choose(False)
    single = torch.cat([score_without_gradient(engine, batch) for batch in _tensors(alone, ranks)])
    engine.module.choose(True)
    reason = ""
    try:
        packed = torch.cat(
            [score_without_gradient(engine, batch) for batch in _tensors([row], ranks)]
        )
    except (TypeError, ValueError, AttributeError, NotImplementedError) as error:
        reason = f"{type(error).__name__}: {error}"
    else:
        difference = float((packed - single).abs().mean())
        if not difference <= _TOLERANCE[next(engine.module.parameters()).dtype]:
            reason = f"its log-probabilities would be off by {difference:.2g} in the mean"
    return next(filter(None, ranks.gather_objects(reason)), None)


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
