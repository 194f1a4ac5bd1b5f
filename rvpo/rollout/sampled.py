"""A sample from the token ids that an engine drew."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

from rvpo.rollout.encoder import Encoder
from rvpo.rollout.supports import Supports
from rvpo.types import Prompt, Sample


def sampled(
    encoder: Encoder,
    prompt: Prompt,
    prompt_ids: Sequence[int],
    completion_ids: Sequence[int],
    logprobs: Sequence[float],
    finish_reason: Literal["stop", "length"],
    versions: tuple[int, tuple[int, ...]],
    supports: Supports | None = None,
) -> Sample:
    """The sample of a completion, with its text.

    Args:
        versions: result of `versions_of`.
        supports: see `Sample`.
    """
    text, budget = encoder.decode(completion_ids), encoder.thought_budget
    oldest, each = versions
    return Sample(
        prompt=prompt,
        prompt_ids=tuple(prompt_ids),
        completion_ids=tuple(completion_ids),
        logprobs=tuple(logprobs),
        text=text,
        parts=encoder.split(prompt_ids, text, prompt.prefill),
        finish_reason=finish_reason,
        policy_version=oldest,
        versions=each,
        given=() if budget is None else budget.written(prompt_ids, completion_ids, logprobs),
        supports=supports,
    )
