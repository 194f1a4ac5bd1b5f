"""vLLM's weight transfer over gloo, for servers on CPUs: a plugin that vLLM loads itself."""

from __future__ import annotations


def register() -> None:
    """Make vLLM know the transfer. Called in each of vLLM's processes; a second call does
    nothing."""
    from rvpo.rollout.vllm.gloo_plugin import register_receiver

    register_receiver()
