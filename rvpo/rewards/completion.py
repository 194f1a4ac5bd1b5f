"""A completion as a reward function receives it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, TypeVar

from rvpo.thinking import Sees
from rvpo.types import Message

Function = TypeVar("Function", bound=Callable[..., Any])

Completion = str | Sequence[Message]
"""Plain text, or chat messages: one that the policy wrote, or all of an episode."""


def shown(sees: Sees) -> Callable[[Function], Function]:
    """Mark what a reward function is shown of a completion where the settings do not say."""

    def mark(function: Function) -> Function:
        setattr(function, "sees", sees)  # noqa: B010, an attribute that no type knows
        return function

    return mark


def bounded(low: float | str, high: float | str) -> Callable[[Function], Function]:
    """Mark between which scores those of a reward function lie; a name is that of an argument."""

    def mark(function: Function) -> Function:
        setattr(function, "bounds", (low, high))  # noqa: B010, an attribute that no type knows
        return function

    return mark


def text_of(completion: Completion) -> str:
    """The text of a completion: itself, or the contents of its last message that is the policy's
    and not a tool's or a user's."""
    return (texts_of(completion) or [""])[-1]


def texts_of(completion: Completion) -> list[str]:
    """The text of each turn of the policy."""
    if isinstance(completion, str):
        return [completion]
    said = [message for message in completion if message.get("role", "assistant") == "assistant"]
    return [message.get("content") or "" for message in said]
