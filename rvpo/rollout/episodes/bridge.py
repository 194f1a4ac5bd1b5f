"""The tokens between two turns of the policy, as its chat template writes them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Final

from rvpo.errors import DataError
from rvpo.rollout.control_tokens import without_marks
from rvpo.rollout.encoder import Encoder
from rvpo.types import Message, Prompt

_SENTINEL: Final = "quartz7391quartz"
"""A turn of the policy that no template and no world writes."""
_SHOWN: Final = 40


@dataclass(frozen=True)
class Bridge:
    """What a chat template puts behind a turn of the policy for the next one to follow.

    What was sampled is never tokenized again: what comes behind it is found by rendering a turn
    that stands in its place.
    """

    encoder: Encoder

    def tokens(
        self, prompt: Prompt, said: Sequence[Message], told: Sequence[Message]
    ) -> tuple[int, ...]:
        """[T] token ids behind a turn, from the one that ends it on.

        Args:
            prompt: that of the episode.
            said: chat turns behind it, the last one the policy's.
            told: chat turns of the world that follow.

        Raises:
            DataError: the template refuses them, or does not show them.
        """
        standing = {**said[-1], "content": _SENTINEL}
        standing.pop("tool_calls", None)  # what it called stands in the sampled text already
        text = self._rendered(prompt, [*said[:-1], standing, *told])
        _, found, behind = text.rpartition(_SENTINEL)
        if not found:
            raise DataError(
                f"prompt {prompt.id!r}: the model's chat template leaves out a turn of the "
                "assistant, and a conversation cannot go on behind it; use another template"
            )
        return tuple(self.encoder.tokens_of(behind))

    def rewriting(
        self, prompt: Prompt, messages: Sequence[Message], token_ids: Sequence[int]
    ) -> str:
        """How the template would have written what was sampled, where it is something else; empty
        where the conversation begins with it.

        Args:
            messages: chat turns behind the prompt; the last one the world's.
            token_ids: the conversation up to the end of the policy's last turn.
        """
        sampled: str = self.encoder.tokenizer.decode(token_ids, skip_special_tokens=False)
        written = without_marks(self._rendered(prompt, messages))
        if written.startswith(sampled):
            return ""
        place = next(
            (i for i, (a, b) in enumerate(zip(sampled, written, strict=False)) if a != b),
            min(len(sampled), len(written)),
        )
        return f"{written[place : place + _SHOWN]!r} instead of {sampled[place : place + _SHOWN]!r}"

    def _rendered(self, prompt: Prompt, messages: Sequence[Message]) -> str:
        whole = replace(prompt, messages=(*prompt.messages, *messages))
        return self.encoder.rendering.of(whole, prompt.tools)
