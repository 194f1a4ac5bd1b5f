"""A sample of several turns: the policy's, and those of the world that answered it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final, Literal

Ending = Literal[
    "answered", "out_of_turns", "out_of_tokens", "out_of_time", "tool_failed", "world_broken"
]
"""Reasons that an episode ended: the policy was through, or its turns, tokens or seconds were used
up, or the world failed it."""
BROKEN: Final[tuple[Ending, ...]] = ("tool_failed", "world_broken")
"""Endings that the policy has no part in: nobody knows what such an episode is worth."""


@dataclass(frozen=True, slots=True)
class Turn:
    """What one side said at a time."""

    messages: tuple[Mapping[str, Any], ...]
    """Chat turns, as data have them: one of the policy, or any number of the world's."""
    start: int
    """Place of its first token in the completion."""
    stop: int
    """Place behind its last one."""

    @property
    def is_policy(self) -> bool:
        """True of the policy's, whose tokens were drawn; those of the world were given."""
        return bool(self.messages[0]["role"] == "assistant")


@dataclass(frozen=True, slots=True, kw_only=True)
class Episode:
    """The turns behind a prompt, and how they ended."""

    turns: tuple[Turn, ...]
    """Turns in their order; the first and the last are the policy's."""
    ending: Ending
    reason: str = ""
    """Reason of an ending in `BROKEN`, in words."""
    state: Any = field(default=None, compare=False)
    """The world's own object at the end, which reward functions are given."""
    calls: int = 0
    """Calls of tools."""
    failures: tuple[str, ...] = ()
    """Reasons of the calls among them that failed, a few words each."""
    world_seconds: float = field(default=0.0, compare=False)
    """Time that the world took to begin and to answer."""
    rewritten: str = ""
    """Difference between what was sampled and what the chat template would have made of it; empty
    where there is none."""

    @property
    def messages(self) -> tuple[Mapping[str, Any], ...]:
        """The chat turns behind the prompt."""
        return tuple(message for turn in self.turns for message in turn.messages)

    @property
    def missing(self) -> str:
        """Reason that it has no score; empty where it has one."""
        return f"{self.ending}: {self.reason}" if self.ending in BROKEN else ""
