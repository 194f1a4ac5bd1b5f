"""A prompt as the model reads it: its text, and the control tokens in it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import groupby

from rvpo.rollout.encoder import Encoder


@dataclass(frozen=True, slots=True)
class PromptSpan:
    """A piece of a prompt."""

    text: str
    is_control: bool
    """True of tokens that the tokenizer knows as special ones, and not as text that is spelt
    like them."""


def spans(encoder: Encoder, ids: Sequence[int]) -> tuple[PromptSpan, ...]:
    """The token ids of a prompt as text, divided where control tokens begin and end.

    Args:
        ids: [T] those of `Encoder.encode`.
    """
    added = encoder.tokenizer.added_tokens_decoder
    special = {id for id, token in added.items() if token.special}
    found: list[PromptSpan] = []
    end, before = 0, ""
    for is_control, run in groupby(ids, key=special.__contains__):
        end += len(list(run))
        whole: str = encoder.tokenizer.decode(
            ids[:end], skip_special_tokens=False, clean_up_tokenization_spaces=False
        )
        # A tokenizer may write a token otherwise at the beginning: only the whole is as it is.
        start = len(before) if whole.startswith(before) else _shared(before, whole)
        found.append(PromptSpan(whole[start:], is_control))
        before = whole
    return tuple(span for span in found if span.text)


def _shared(one: str, other: str) -> int:
    """Length of the beginning that two texts share."""
    pairs = zip(one, other, strict=False)
    return next((n for n, (a, b) in enumerate(pairs) if a != b), min(len(one), len(other)))
