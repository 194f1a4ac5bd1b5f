"""The memory of a rollout engine, from its settings and the sizes of a model, in bytes."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class EngineLoad:
    """The sizes that an engine is to hold, and the device that it has for them."""

    weights: int
    """All weights of the model, in the type that computes."""
    token: int
    """Keys and values of one token, over all layers."""
    completion_tokens: int
    """Length of the longest completion."""
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
    """Its size, in words."""
    remedy: str = ""
    """The change that would make it suffice; empty where it does."""


@dataclass(frozen=True, slots=True, kw_only=True)
class EngineMemory:
    """The memory that an engine takes."""

    awake: float
    """Bytes of its training process's device while it generates."""
    resting: float
    """Bytes of the same device while the policy learns."""
    host: float = 0.0
    """Memory of the machine itself, beside a GPU's."""
    about: str
    """The thing that takes the memory, in a few words."""
    rooms: tuple[Room, ...] = ()
    """Parts of it that may be too small."""
