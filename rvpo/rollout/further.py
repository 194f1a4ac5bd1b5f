"""Requests that arise while an engine generates: the next turns of conversations."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from rvpo.types import Prompt


@dataclass(frozen=True, slots=True)
class Request:
    """One more sample of a row of the rollout, whose last one is finished."""

    row: int
    turn: int
    """Samples that the row had before; its seed is another one for each."""
    prompt: Prompt
    most_tokens: int
    """Tokens after which it is cut off, at least 1."""


class Further(Protocol):
    """Source of further requests. An engine's `on_sample` tells it of those that are finished."""

    def take(self) -> Sequence[Request]:
        """Requests that have come since they were last taken, in order of row; none is waited
        for."""
        ...

    def wait(self) -> bool:
        """Wait until there is a request. False where there will be none before another sample is
        finished."""
        ...

    def settle(self) -> None:
        """Wait until it is known of every finished sample whether its row goes on, for an engine
        whose samples depend on those beside them."""
        ...
