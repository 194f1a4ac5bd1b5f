"""Requests that arise while an engine generates: the next turns of conversations."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

from rvpo.runtime.seed import derived_seed
from rvpo.types import Prompt


@dataclass(frozen=True, slots=True)
class TurnRequest:
    """One more sample of a row of the rollout, whose last one is finished."""

    row: int
    turn: int
    """Samples that the row had before; its seed is another one for each."""
    prompt: Prompt
    most_tokens: int
    """Tokens after which it is cut off, at least 1."""

    def seed(self, seed: int) -> int:
        """Its own, from that of the rollout."""
        return derived_seed(seed, self.row, *([self.turn] if self.turn else []))


class Further(Protocol):
    """Source of further requests. An engine's `on_sample` tells it of those that are finished."""

    def take(self) -> Sequence[TurnRequest]:
        """Requests that have come since they were last taken, in order of row; none is waited
        for."""
        ...

    def wait(self) -> bool:
        """Wait until there is something to take. False where there will be nothing before another
        sample is finished."""
        ...

    def settle(self) -> None:
        """Wait until it is known of every finished sample whether its row goes on, for an engine
        whose samples depend on those beside them."""
        ...

    def listen(self, told: Callable[[], None]) -> None:
        """Have a function called, in any thread, each time that there is something to take; for an
        engine that waits for other things too."""
        ...


def awaited(further: Further, *, all_of_them: bool) -> Sequence[TurnRequest]:
    """The next requests for an engine that has nothing to do; none where there will be none.

    Args:
        all_of_them: those of every row that goes on, and not the first that come.
    """
    if all_of_them:
        further.settle()
        return further.take()
    while further.wait():
        if found := further.take():
            return found
    return ()
