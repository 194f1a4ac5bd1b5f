"""The most tokens that a thought may have, after which the engine writes its end.

What the engine writes the policy has not drawn: it is context for what follows, and never trained
on. vLLM gives such a token all the probability (its logit is 1e9), and a log-probability of 0.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

BUDGET: Final = "rollout.max_thought_tokens"
"""The setting, for messages."""
_CERTAIN: Final = -1e-3
"""Log-probability above which nothing was left to chance, whatever rounding did to a 0."""
_AT_THE_END: Final = 4
"""Tokens in which a template writes blank space behind the marker that it ends with."""


@dataclass(frozen=True, slots=True)
class ThoughtBudget:
    """The limit of a thought, by the tokens of the markers around it."""

    tokens: int
    """The most between the markers."""
    opening: str
    closing: str
    opening_ids: tuple[int, ...]
    closing_ids: tuple[int, ...]

    @property
    def markers(self) -> dict[str, str]:
        """The markers, by vLLM's names for them. It encodes them by the model's tokenizer."""
        return {"reasoning_start_str": self.opening, "reasoning_end_str": self.closing}

    def is_begun_early(self, prompt_ids: Sequence[int]) -> bool:
        """True where a prompt begins a thought elsewhere than at its end, and does not end it."""
        if self.opening_ids[0] not in prompt_ids:
            return False
        return Thought(self, prompt_ids[:-_AT_THE_END]).is_under_way

    def written(
        self,
        prompt_ids: Sequence[int],
        completion_ids: Sequence[int],
        logprobs: Sequence[float],
    ) -> tuple[int, ...]:
        """Places in a completion of the end that an engine has written to a thought: tokens in it
        beyond the limit to which the engine gave all probability.

        vLLM has two ways of counting. By one a thought that is begun again inside of itself goes
        on, by the other an opening marker of n tokens lets it go on for n - 1 tokens more: those
        were drawn, and are not among these places.

        Args:
            logprobs: [T] the engine's.
        """
        thought = Thought(self, prompt_ids)
        places = []
        for place, (token, logprob) in enumerate(zip(completion_ids, logprobs, strict=True)):
            if thought.is_over and logprob > _CERTAIN:
                places.append(place)
            thought.take(token)
        return tuple(places)


class Thought:
    """The thought of one sequence under way, token by token.

    Args:
        prompt_ids: the sequence so far, which may have begun it.
    """

    def __init__(self, budget: ThoughtBudget, prompt_ids: Sequence[int]) -> None:
        self._budget = budget
        self._tokens: int | None = None
        """Tokens behind the opening marker; None outside of a thought."""
        self._last: tuple[int, ...] = ()
        self._longest = max(len(budget.opening_ids), len(budget.closing_ids))
        for token in prompt_ids:
            self.take(token)

    @property
    def is_under_way(self) -> bool:
        """True within a thought."""
        return self._tokens is not None

    @property
    def is_over(self) -> bool:
        """True where the thought has to end."""
        return self._tokens is not None and self._tokens >= self._budget.tokens

    @property
    def due(self) -> int | None:
        """The token that has to be next; None where any may."""
        if not self.is_over:
            return None
        end = self._budget.closing_ids
        begun = [n for n in range(len(end)) if self._last[len(self._last) - n :] == end[:n]]
        return end[max(begun)]

    def take(self, token: int) -> None:
        """Go on by one token."""
        self._last = (*self._last, token)[-self._longest :]
        marker = self._budget.opening_ids if self._tokens is None else self._budget.closing_ids
        if self._last[len(self._last) - len(marker) :] == marker:
            self._tokens = 0 if self._tokens is None else None
        elif self._tokens is not None:
            self._tokens += 1


def contains(ids: Sequence[int], part: Sequence[int]) -> bool:
    """True where the token ids of a part stand side by side in others."""
    return any(tuple(ids[start : start + len(part)]) == tuple(part) for start in range(len(ids)))
