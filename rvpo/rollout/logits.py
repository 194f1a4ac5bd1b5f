"""Logits on their way to a sampler, as vLLM's changes them, for transformers' `generate`."""

from __future__ import annotations

from array import array
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from rvpo.lazy import torch
from rvpo.rollout.supports import Supports
from rvpo.rollout.thought_budget import Thought, ThoughtBudget

if TYPE_CHECKING:
    from torch import Tensor

    from rvpo.rollout.encoder import Encoder
    from rvpo.sampling import Sampling


def kept(logits: Tensor, sampling: Sampling) -> Tensor:
    """[B, V] bool, tokens that can be drawn: of those with `min_p`, of these the `top_k` likeliest
    and all that are as likely as the last of them, and of these the likeliest with `top_p`.

    Args:
        logits: [B, V] at the temperature of sampling.
    """
    left = logits.float()
    if sampling.min_p > 0:
        p = left.softmax(dim=-1)
        left = left.masked_fill(p < sampling.min_p * p.amax(dim=-1, keepdim=True), -torch.inf)
    if 0 < sampling.top_k < left.shape[-1]:
        least = left.topk(sampling.top_k, dim=-1).values[:, -1:]
        left = left.masked_fill(left < least, -torch.inf)
    if sampling.top_p < 1:
        ordered, places = left.sort(dim=-1)
        below = ordered.softmax(dim=-1).cumsum(dim=-1) <= 1 - sampling.top_p
        below[:, -1] = False  # the likeliest, whatever rounding did
        left = left.masked_fill(torch.zeros_like(below).scatter(-1, places, below), -torch.inf)
    return left > -torch.inf


class Truncation:
    """A logits processor that leaves out what cannot be drawn, and remembers what can."""

    def __init__(self, sampling: Sampling) -> None:
        self._sampling = sampling
        self._rows: list[Tensor] = []
        self._ids: list[Tensor] = []
        self._counts: list[Tensor] = []  # T times [B]

    def __call__(self, input_ids: Tensor, scores: Tensor) -> Tensor:
        keep = kept(scores / self._sampling.temperature, self._sampling)
        rows, ids = (each.cpu() for each in keep.nonzero(as_tuple=True))
        self._rows.append(rows)
        self._ids.append(ids)
        self._counts.append(keep.sum(dim=-1).cpu())
        return scores.masked_fill(~keep, -torch.inf)

    def supports(self) -> list[Supports]:
        """Those of each row, as `Sample.supports` has them, for all tokens that were drawn."""
        counts = torch.stack(self._counts, dim=1)  # [B, T]
        order = torch.cat(self._rows).argsort(stable=True)
        ids = torch.split(torch.cat(self._ids)[order], counts.sum(dim=1).tolist())
        return [
            (array("i", own.tolist()), array("i", each.tolist()))
            for own, each in zip(ids, counts, strict=True)
        ]


class Penalties:
    """A logits processor that penalises tokens for having been there.

    Args:
        prompts: token ids of each row's prompt, without padding.
    """

    def __init__(self, sampling: Sampling, prompts: Sequence[Sequence[int]]) -> None:
        self._sampling = sampling
        self._prompts = prompts
        self._times: Tensor | None = None
        self._in_prompt: Tensor | None = None

    def __call__(self, input_ids: Tensor, scores: Tensor) -> Tensor:
        if self._times is None or self._in_prompt is None:
            self._times, self._in_prompt = torch.zeros_like(scores), torch.zeros_like(scores)
            for row, ids in enumerate(self._prompts):
                self._in_prompt[row, torch.tensor(ids, device=scores.device)] = 1
        else:
            last = input_ids[:, -1:]
            self._times.scatter_add_(1, last, torch.ones_like(last, dtype=scores.dtype))
        there = self._times > 0
        own = self._sampling
        divided = torch.where(
            scores > 0, scores / own.repetition_penalty, scores * own.repetition_penalty
        )
        scores = scores.where(~(there | (self._in_prompt > 0)), divided)
        return scores - own.frequency_penalty * self._times - own.presence_penalty * there


class TextStops:
    """A stopping criterion that ends a row where a text comes up in it.

    Args:
        width: tokens of each row's prompt, with padding.
    """

    def __init__(self, stops: Sequence[str], encoder: Encoder, width: int) -> None:
        self._stops = stops
        self._encoder = encoder
        self._width = width
        # A token has at least a byte of text; a few more see to what a tokenizer does at a start.
        self._tail = max(len(stop.encode()) for stop in stops) + 4
        self.lengths: dict[int, int] = {}
        """Tokens of the completions that ended so, by row."""

    def __call__(self, input_ids: Tensor, scores: Tensor, **others: object) -> Tensor:
        length = input_ids.shape[1] - self._width
        tails = input_ids[:, self._width :][:, -self._tail :].tolist()
        for row, ids in enumerate(tails):
            if row not in self.lengths:
                text = self._encoder.decode(ids)
                if any(stop in text for stop in self._stops):
                    self.lengths[row] = length
        ended = [row in self.lengths for row in range(len(input_ids))]
        return torch.tensor(ended, device=input_ids.device)


class Cuts:
    """A stopping criterion that ends each row after a number of tokens of its own.

    Args:
        most: tokens after which each row ends.
        width: tokens of each row's prompt, with padding.
    """

    def __init__(self, most: Sequence[int], width: int) -> None:
        self._most = most
        self._width = width

    def __call__(self, input_ids: Tensor, scores: Tensor, **others: object) -> Tensor:
        length = input_ids.shape[1] - self._width
        ended = [length >= most for most in self._most]
        return torch.tensor(ended, device=input_ids.device)


class ThoughtEnder:
    """Gives all probability to the end of a thought that has used its budget up.

    Args:
        prompts: token ids of each row's prompt.
    """

    def __init__(self, budget: ThoughtBudget, prompts: Sequence[Sequence[int]]) -> None:
        self._thoughts = [Thought(budget, ids) for ids in prompts]
        self._begun = False

    def __call__(self, input_ids: Tensor, scores: Tensor) -> Tensor:
        if self._begun:
            for thought, token in zip(self._thoughts, input_ids[:, -1].tolist(), strict=True):
                thought.take(token)
        self._begun = True
        for row, thought in enumerate(self._thoughts):
            if thought.due is not None:
                chosen = torch.full_like(scores[row], -torch.inf)
                chosen[thought.due] = 0.0
                scores[row] = chosen
        return scores


class LogprobRecorder:
    """Keeps the log-probability of each sampled token, and one step's logits at a time.

    `generate` can return the logits of all steps, [T, B, V] floats: too much for long
    completions. A logits processor sees them step by step, a token later than it needs.
    """

    def __init__(self, temperature: float) -> None:
        self._temperature = temperature
        self._pending: Tensor | None = None  # [B, V] log-probabilities of the token to come
        self._chosen: list[Tensor] = []  # T times [B]

    def __call__(self, input_ids: Tensor, scores: Tensor) -> Tensor:
        self._record(input_ids[:, -1])
        # At temperature 0 all probability is on one token; the model's own says more.
        self._pending = torch.log_softmax(scores.float() / (self._temperature or 1.0), dim=-1)
        return scores

    def finish(self, output_ids: Tensor) -> Tensor:
        """[B, T] log-probabilities of all sampled tokens."""
        self._record(output_ids[:, -1])
        return torch.stack(self._chosen, dim=1)

    def _record(self, tokens: Tensor) -> None:
        if self._pending is not None:
            self._chosen.append(self._pending.gather(1, tokens[:, None])[:, 0])


@dataclass(frozen=True, slots=True)
class Steps:
    """Work on the logits of each token, and on each token that was drawn."""

    processors: list[Any]
    recorder: LogprobRecorder
    truncation: Truncation | None = None
    stops: TextStops | None = None
    cuts: Cuts | None = None

    @property
    def criteria(self) -> list[Any]:
        """Those by which a row ends, beside the tokens that end it."""
        return [each for each in (self.stops, self.cuts) if each is not None]

    @classmethod
    def of(
        cls,
        sampling: Sampling,
        encoder: Encoder,
        prompts: Sequence[Sequence[int]],
        width: int,
        most: Sequence[int],
    ) -> Steps:
        """Those of a batch.

        Args:
            prompts: token ids of each row's prompt.
            width: tokens of each, with padding.
            most: tokens of each row's longest completion.
        """
        neutral = replace(
            sampling, repetition_penalty=1.0, presence_penalty=0.0, frequency_penalty=0.0
        )
        budget = encoder.thought_budget
        cut = sampling.truncates and sampling.temperature > 0
        truncation = Truncation(sampling) if cut else None
        recorder = LogprobRecorder(sampling.temperature)
        processors = [
            None if sampling == neutral else Penalties(sampling, prompts),
            None if budget is None else ThoughtEnder(budget, prompts),
            truncation,
            recorder,
        ]
        return cls(
            [each for each in processors if each is not None],
            recorder,
            truncation,
            TextStops(sampling.stop, encoder, width) if sampling.stop else None,
            Cuts(most, width) if min(most) < max(most) else None,
        )
