"""The limits of an episode."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class EpisodeLimits:
    """Limits of an episode."""

    turns: int
    tokens: int
    """Tokens behind the prompt, those of the world included; of an episode whose prompts are
    written anew, see `ServedScribe`, those of each turn of the policy."""
    context: int
    """Tokens of the whole conversation."""
    seconds: float | None
    """Seconds after which it gets no further turn."""
    patience: float
    """Seconds that the event loop of all worlds may stand still."""
