"""Samples laid out as tensors for one forward and backward pass."""

from __future__ import annotations

from array import array
from collections.abc import Sequence
from dataclasses import dataclass, replace
from heapq import heapreplace
from itertools import groupby
from typing import Final

import torch
from torch import Tensor

from rvpo.rollout.supports import Supports
from rvpo.trainer.attention import Span
from rvpo.trainer.supports import TokenSupports
from rvpo.types import Sample


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainedSample:
    """A sample for the update, light enough to be sent to another rank."""

    prompt_id: str
    prompt_ids: tuple[int, ...]
    completion_ids: Sequence[int]  # [T]
    sampled_logprobs: Sequence[float]  # [T]
    advantage: float
    ages: Sequence[int] = ()  # [T]
    """Updates that the weights which sampled each token were behind; empty where all are 0."""
    group: int = 0
    """Place of its group in the step; groups of equal prompts stay apart by it."""
    is_masked: bool = False
    """True where it only counts as a sample and is not computed."""
    given: Sequence[int] = ()
    """Places of tokens that the policy did not draw, and does not learn from."""
    supports: Supports | None = None
    """See `Sample`."""

    @staticmethod
    def of(
        sample: Sample, advantage: float, group: int, is_masked: bool, version: int
    ) -> TrainedSample:
        """The sample as the engine drew it. A token takes 8 to 12 bytes, of Python's own numbers it
        would be 70: every rank gets the samples of all. Each token of its support takes 4 more.

        Args:
            version: updates of the policy that is to learn from it.
        """
        fresh = not sample.versions and sample.policy_version == version
        ages = () if fresh else array("i", (version - each for each in sample.token_versions))
        return TrainedSample(
            prompt_id=sample.prompt.id,
            prompt_ids=sample.prompt_ids,
            completion_ids=array("i", sample.completion_ids),
            sampled_logprobs=array("f", sample.logprobs),
            advantage=advantage,
            ages=ages,
            group=group,
            is_masked=is_masked,
            given=sample.given,
            supports=sample.supports,
        )

    @property
    def drawn(self) -> int:
        """Tokens of the completion that the policy drew, at least 1 for weights to be finite."""
        return max(1, self.length - len(self.given))

    @property
    def length(self) -> int:
        """Tokens of the completion."""
        return len(self.completion_ids)


@dataclass(frozen=True, slots=True)
class SharedPrompt:
    """A prompt and some of its completions, which share it."""

    samples: tuple[TrainedSample, ...]

    @property
    def tokens(self) -> int:
        """Tokens that it takes in a row."""
        return len(self.samples[0].prompt_ids) + sum(sample.length for sample in self.samples)


PackedRow = Sequence[SharedPrompt]


@dataclass(frozen=True, slots=True, eq=False)
class MicroBatch:
    """Parts in a single row without padding, as in `trainer.attention`.

    Positions of a completion go on from its prompt's end. S is the length of the row, T the number
    of completion tokens in it.
    """

    prompt_ids: tuple[str, ...]
    """Names of the prompts, of each sample."""
    input_ids: Tensor  # [1, S]
    position_ids: Tensor  # [1, S]
    spans: tuple[Span, ...]
    predecessors: Tensor  # [T] where in the row each completion token is predicted
    completion_ids: Tensor  # [T]
    sample: Tensor  # [T] which sample of the row a token is of
    lengths: Tensor  # [samples] of its completion
    sampled_logprobs: Tensor  # [T], of the engine
    ages: Tensor  # [T] updates that the weights which sampled a token were behind
    advantages: Tensor  # [T], of the token's sample
    weights: Tensor  # [T] in the loss of the update
    update_tokens: int
    """Completion tokens of the whole update that were drawn, over all ranks and micro-batches."""
    old_logprobs: Tensor | None = None
    """[T] the policy's before the step; None where it is still the one that learns."""
    drawn: Tensor | None = None
    """[T] bool, tokens that the policy drew; None where it drew all. The others are context, and
    nothing is learned from them."""
    supports: TokenSupports | None = None
    """Tokens that could be drawn at each place, which alone have a probability; None for all."""
    counts: bool = True
    """False for a pass that only keeps the ranks together."""

    @property
    def drawn_lengths(self) -> Tensor:
        """[samples] tokens of each that the policy drew, at least 1."""
        if self.drawn is None:
            return self.lengths
        count = len(self.lengths)
        return torch.bincount(self.sample[self.drawn], minlength=count).clamp(min=1)


_LEAST_ROOM: Final = 4
"""Completions have at least this part of a row."""


def arrange(
    samples: Sequence[TrainedSample], *, tokens: int, ranks: int = 1, is_shared: bool = True
) -> list[PackedRow]:
    """Rows of about equal length, their number a multiple of that of the ranks where it can be.

    Args:
        samples: those of all ranks, siblings adjacent, each with at least one completion token.
        tokens: longest row, but for a single sample that is longer, and for a prompt that would
            leave its completions less than a quarter of it: to compute that prompt again for each
            of them would cost far more.
        is_shared: True where completions share their prompts; else each sample has its own row.
    """
    if not is_shared:
        return [[SharedPrompt((sample,))] for sample in samples]
    parts = _parts(samples, tokens)
    sizes = [part.tokens for part in parts]
    count = -(-sum(sizes) // tokens)
    return [[parts[i] for i in row] for row in spread(sizes, tokens, count, multiple=ranks)]


def micro_batches(
    rows: Sequence[PackedRow],
    weights: Sequence[float],
    device: torch.device,
    rank: int = 0,
    ranks: int = 1,
) -> list[MicroBatch]:
    """A rank's part of the rows as tensors, the same number of them on every rank.

    Args:
        weights: each sample's, for its tokens, in the order of the rows.
    """
    each = iter(weights)
    weighed = [(row, [next(each) for part in row for _ in part.samples]) for row in rows]
    tokens = sum(sample.drawn for row in rows for part in row for sample in part.samples)
    mine = [_lay_out(row, own, tokens, device) for row, own in weighed[rank::ranks]]
    wanted = -(-len(rows) // ranks)
    # ZeRO-3 gathers weights in every forward pass: a rank with fewer would keep others waiting.
    return mine + [_idle(rows[0], device)] * (wanted - len(mine))


def _parts(samples: Sequence[TrainedSample], tokens: int) -> list[SharedPrompt]:
    """Whole groups where they fit, else as many of their completions together as do."""
    parts: list[SharedPrompt] = []
    for (_, prompt), group in groupby(samples, key=lambda s: (s.group, s.prompt_ids)):
        siblings = list(group)
        room = max(1, tokens - len(prompt), tokens // _LEAST_ROOM)
        count = -(-sum(sample.length for sample in siblings) // room)
        bins = spread([sample.length for sample in siblings], room, count)
        # Of similar length side by side: attention takes those together.
        parts += [
            SharedPrompt(tuple(sorted((siblings[i] for i in b), key=lambda s: -s.length)))
            for b in bins
        ]
    return parts


def spread(sizes: Sequence[int], most: int, count: int, multiple: int = 1) -> list[list[int]]:
    """Indices of items in bins of about equal size, largest items first into the emptiest bin.

    Args:
        most: a bin holds no more, but for a single item that is larger.
        count: bins to begin with; more are taken until everything fits.
        multiple: divisor of the number of bins, as far as there are items.
    """
    order = sorted(range(len(sizes)), key=lambda i: (-sizes[i], i))
    # No two items of more than half a bin share one: with fewer bins nothing can fit.
    count = max(1, count, sum(2 * size > most for size in sizes))
    while True:
        number = min(len(sizes), -(-count // multiple) * multiple)
        bins = _fill(sizes, order, number)
        if all(len(b) == 1 or sum(sizes[i] for i in b) <= most for b in bins):
            return [sorted(b) for b in bins]
        count = number + 1


def _fill(sizes: Sequence[int], order: Sequence[int], number: int) -> list[list[int]]:
    """Each item into the bin that is emptiest then, the first of equally empty ones."""
    bins: list[list[int]] = [[] for _ in range(number)]
    filled = [(0, b) for b in range(number)]  # a heap
    for i in order:
        size, emptiest = filled[0]
        bins[emptiest].append(i)
        heapreplace(filled, (size + sizes[i], emptiest))
    return bins


def _lay_out(
    row: PackedRow, weights: Sequence[float], update_tokens: int, device: torch.device
) -> MicroBatch:
    ids: list[int] = []
    positions: list[int] = []
    predecessors: list[int] = []
    spans: list[Span] = []
    samples = [sample for part in row for sample in part.samples]
    for part in row:
        prompt = part.samples[0].prompt_ids
        last = len(ids) + len(prompt) - 1
        spans.append(Span(len(prompt), tuple(sample.length for sample in part.samples)))
        ids += prompt
        positions += range(len(prompt))
        for sample in part.samples:
            predecessors += [last, *range(len(ids), len(ids) + sample.length - 1)]
            ids += sample.completion_ids
            positions += range(len(prompt), len(prompt) + sample.length)
    lengths = torch.tensor([sample.length for sample in samples], device=device)

    def each(values: Sequence[float]) -> Tensor:
        """A value of every sample, for each of its tokens."""
        return torch.tensor(values, dtype=torch.float32, device=device).repeat_interleave(lengths)

    def joined(values: Sequence[Sequence[float]], dtype: torch.dtype) -> Tensor:
        flat = [value for part in values for value in part]
        return torch.tensor(flat, dtype=dtype, device=device)

    return MicroBatch(
        prompt_ids=tuple(sample.prompt_id for sample in samples),
        input_ids=torch.tensor([ids], device=device),
        position_ids=torch.tensor([positions], device=device),
        spans=tuple(spans),
        predecessors=torch.tensor(predecessors, device=device),
        completion_ids=joined([sample.completion_ids for sample in samples], torch.int64),
        sample=torch.arange(len(samples), device=device).repeat_interleave(lengths),
        lengths=lengths,
        sampled_logprobs=joined([sample.sampled_logprobs for sample in samples], torch.float32),
        ages=joined([sample.ages or [0] * sample.length for sample in samples], torch.int64),
        advantages=each([sample.advantage for sample in samples]),
        weights=each(weights),
        update_tokens=update_tokens,
        drawn=_drawn(samples, device),
        supports=_supports(samples, device),
    )


def _supports(samples: Sequence[TrainedSample], device: torch.device) -> TokenSupports | None:
    known = [sample.supports for sample in samples if sample.supports is not None]
    if not known:
        return None
    assert len(known) == len(samples)  # one engine drew all of them in one way
    return TokenSupports.of(known, device)


def _drawn(samples: Sequence[TrainedSample], device: torch.device) -> Tensor | None:
    if not any(sample.given for sample in samples):
        return None
    places: list[bool] = []
    for sample in samples:
        given = frozenset(sample.given)  # of a long episode thousands
        places += (place not in given for place in range(sample.length))
    return torch.tensor(places, device=device)


def _idle(row: PackedRow, device: torch.device) -> MicroBatch:
    """Little work that passes through every layer and counts for nothing."""
    samples = [sample for part in row for sample in part.samples]
    shortest = min(samples, key=lambda sample: sample.length)
    return replace(
        _lay_out([SharedPrompt((shortest,))], [0.0], shortest.length, device), counts=False
    )
