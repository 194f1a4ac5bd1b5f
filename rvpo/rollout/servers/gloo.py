"""vLLM's weight transfer over gloo, for servers on CPUs: a plugin that vLLM loads itself."""

from __future__ import annotations


def register() -> None:
    """Make vLLM know the transfer."""
