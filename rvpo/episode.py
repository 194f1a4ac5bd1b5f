"""A sample of several turns: the policy's, and those of the world that answered it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final, Literal

from rvpo.fence import fenced
from rvpo.thinking import NO_MODEL, Sees

Ending = Literal[
    "answered", "out_of_turns", "out_of_tokens", "out_of_time", "tool_failed", "world_broken"
]
"""Reasons that an episode ended: the policy was through, or its turns, tokens or seconds were used
up, or the world failed it."""
BROKEN: Final[tuple[Ending, ...]] = ("tool_failed", "world_broken")
"""Endings that the policy has no part in: nobody knows what such an episode is worth."""


@dataclass(frozen=True, slots=True)
class Turn:
    """Words of one side at a time."""

    messages: tuple[Mapping[str, Any], ...]
    """Chat turns, as data have them: one of the policy, or any number of the world's."""
    start: int
    """Place of its first token in the completion."""
    stop: int
    """Place behind its last one."""
    everything: str | None = None
    """Text of the policy with its thoughts, see `Sample.sampled`; None where the message has it."""
    answer: str | None = None
    """The same without thoughts."""
    thought_tokens: int = 0
    """Tokens of the thoughts among those of the turn."""

    @property
    def is_policy(self) -> bool:
        """True of the policy's, whose tokens were drawn; those of the world were given."""
        return bool(self.messages[0]["role"] == "assistant")

    @property
    def length(self) -> int:
        """Number of its tokens."""
        return self.stop - self.start

    def shown(self, sees: Sees) -> tuple[Mapping[str, Any], ...]:
        """The messages, that of the policy with what it wrote, in the part that is seen."""
        if not self.is_policy:
            return self.messages
        said = self.answer if sees == "answer" else self.everything
        return tuple(
            message if said is None else {**message, "content": said} for message in self.messages
        )


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
    def policy_turns(self) -> tuple[Turn, ...]:
        """The turns of the policy."""
        return tuple(turn for turn in self.turns if turn.is_policy)

    @property
    def missing(self) -> str:
        """Reason that it has no score; empty where it has one."""
        return f"{self.ending}: {self.reason}" if self.ending in BROKEN else ""

    def shown(self, sees: Sees, begun: str = "") -> tuple[Mapping[str, Any], ...]:
        """The chat turns behind the prompt, those of the policy in the part that is seen.

        Args:
            begun: text that the settings put before the policy's first turn.
        """
        found = [message for turn in self.turns for message in turn.shown(sees)]
        if begun and found:
            before = begun if sees == "everything" else NO_MODEL.split_alone(begun).answer
            found[0] = {**found[0], "content": before + text_of(found[0])}
        return tuple(found)

    def told(self, sees: Sees, begun: str = "") -> str:
        """All turns as one text: each between two lines that it cannot end, below its number and
        its role, so that no turn can pass for another one.

        Args:
            begun: see `shown`.
        """
        return "\n\n".join(
            f"Turn {number}, by {json.dumps(str(message['role']))}:\n{fenced(text_of(message))}"
            for number, message in enumerate(self.shown(sees, begun), 1)
        )


def text_of(message: Mapping[str, Any]) -> str:
    """The text of a chat turn; what else its content may be as JSON."""
    content = message.get("content")
    if isinstance(content, str):
        return content
    return "" if content is None else json.dumps(content, ensure_ascii=False, default=str)
