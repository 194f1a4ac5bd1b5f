"""Samples laid out as tensors for one forward and backward pass."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import groupby

import torch
from torch import Tensor

from rvpo.types import Sample


@dataclass(frozen=True, slots=True, eq=False)
class MicroBatch:
    """Prompts, each followed by its completions, in a single row without padding.

        [prompt A | completion A1 | completion A2 | … | prompt B | completion B1 | …]

    A completion sees its prompt and itself, and its positions go on from the prompt's end, so
    every token is computed as if its sample stood alone while each prompt is computed once.
    S is the length of the row, T the number of completion tokens in it.
    """

    samples: tuple[Sample, ...]
    input_ids: Tensor  # [1, S]
    position_ids: Tensor  # [1, S]
    visible: Tensor  # [1, 1, S, S] bool: query, key
    predecessors: Tensor  # [T] where in the row the logits of each completion token are
    completion_ids: Tensor  # [T]
    sampled_logprobs: Tensor  # [T]
    advantages: Tensor  # [T], of the token's sample
    counts: bool = True
    """False for a pass that only keeps the ranks together."""


def micro_batches(
    samples: Sequence[Sample], advantages: Sequence[float], size: int, device: torch.device
) -> list[MicroBatch]:
    """Lay out samples in rows of at most `size` completions.

    Args:
        samples: [N], siblings adjacent, each with at least one completion token.
        advantages: [N].
    """
    return [
        _lay_out(samples[start : start + size], advantages[start : start + size], device)
        for start in range(0, len(samples), size)
    ]


def _lay_out(
    samples: Sequence[Sample], advantages: Sequence[float], device: torch.device
) -> MicroBatch:
    ids: list[int] = []
    positions: list[int] = []
    groups: list[int] = []
    segments: list[int] = []  # 0 in a prompt, 1, 2, … in its completions
    predecessors: list[int] = []
    for group, (prompt, siblings) in enumerate(groupby(samples, key=lambda s: s.prompt_ids)):
        last = len(ids) + len(prompt) - 1
        ids += prompt
        positions += range(len(prompt))
        segments += [0] * len(prompt)
        for segment, sample in enumerate(siblings, start=1):
            length, start = len(sample.completion_ids), len(ids)
            predecessors += [last, *range(start, start + length - 1)]
            ids += sample.completion_ids
            positions += range(len(prompt), len(prompt) + length)
            segments += [segment] * length
        groups += [group] * (len(ids) - len(groups))
    lengths = torch.tensor([len(sample.completion_ids) for sample in samples])
    logprobs = [value for sample in samples for value in sample.logprobs]
    return MicroBatch(
        samples=tuple(samples),
        input_ids=torch.tensor([ids], device=device),
        position_ids=torch.tensor([positions], device=device),
        visible=_visible(torch.tensor(groups), torch.tensor(segments)).to(device),
        predecessors=torch.tensor(predecessors, device=device),
        completion_ids=torch.tensor(
            [token for sample in samples for token in sample.completion_ids], device=device
        ),
        sampled_logprobs=torch.tensor(logprobs, dtype=torch.float32, device=device),
        advantages=torch.tensor(advantages, dtype=torch.float32)
        .repeat_interleave(lengths)
        .to(device),
    )


def _visible(groups: Tensor, segments: Tensor) -> Tensor:
    """[1, 1, S, S] bool: earlier tokens of the own prompt and of the own completion."""
    same_group = groups[:, None] == groups[None, :]
    prompt_or_self = (segments[None, :] == 0) | (segments[:, None] == segments[None, :])
    return (same_group & prompt_or_self).tril()[None, None]
