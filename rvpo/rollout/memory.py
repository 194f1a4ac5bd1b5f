"""The memory of a rollout engine, from its settings and the sizes of a model, in bytes."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class EngineLoad:
    """What an engine is to hold, and where."""

    weights: int
    """Of the whole model, in the type that computes."""
    token: int
    """Keys and values of one token, over all layers."""
    completion_tokens: int
    """Of the longest completion."""
    device: float | None
    """Memory of a GPU; None on a CPU."""
    concurrent: bool
    """It generates while the policy learns."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Room:
    """A part of an engine's memory that must suffice for something."""

    part: str
    """Its name, as `rvpo plan` prints it."""
    fits: bool
    found: str
    """How large it is, in words."""
    remedy: str = ""
    """What to change where it does not suffice."""


@dataclass(frozen=True, slots=True, kw_only=True)
class EngineMemory:
    """What an engine takes."""

    awake: float
    """While it generates, of the device of its training process."""
    resting: float
    """Of that device while the policy learns."""
    host: float = 0.0
    """Of the machine's own memory, beside a GPU's."""
    about: str
    """What it is that takes the memory, in a few words."""
    rooms: tuple[Room, ...] = ()
    """Parts of it that may be too small."""
