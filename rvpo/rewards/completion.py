"""What a reward function receives for one completion."""

from __future__ import annotations

from collections.abc import Sequence

from rvpo.types import Message

Completion = str | Sequence[Message]
"""Plain text, or the chat messages that the policy wrote."""


def text_of(completion: Completion) -> str:
    """The text of a completion: itself, or the contents of its last message."""
    if isinstance(completion, str):
        return completion
    return completion[-1]["content"] if completion else ""
