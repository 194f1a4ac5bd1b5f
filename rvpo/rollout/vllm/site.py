"""The surroundings of an engine, as far as its memory and the way of its weights depend on them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True, slots=True)
class Site:
    """The place of an engine, seen from the training process that it generates for."""

    gpu: Literal["none", "shared", "own"] = "none"
    """The GPU that it works on: none, the one that this process trains on, or another."""
    in_process: bool = True
    """The engine runs in the training process, not in one of its own."""

    @property
    def sleeps(self) -> bool:
        """True where the engine gives its memory away between rollouts: it has the trainer's GPU,
        and never works while that does."""
        return self.gpu == "shared" and self.in_process

    def __str__(self) -> str:
        on = {"none": "on the CPU", "shared": "on the trainer's GPU", "own": "on a GPU of its own"}
        process = "in the training process" if self.in_process else "in a process of its own"
        return f"{process} {on[self.gpu]}"
