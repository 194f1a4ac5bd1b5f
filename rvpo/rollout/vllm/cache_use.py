"""Use of vLLM's KV cache during a rollout."""

from __future__ import annotations

from typing import Any


class CacheUse:
    """The KV cache of an engine in this process, looked at after each of its steps.

    vLLM's own statistics would cost time on every token, and end in a registry that all engines of
    a process share; its scheduler knows the same without either.

    Args:
        scheduler: vLLM's `Scheduler`; None for an engine in a process of its own, of which nothing
            is known.
    """

    def __init__(self, scheduler: Any | None) -> None:
        self._scheduler = scheduler
        self._highest = 0.0
        self._preempted: dict[str, int] = {}

    def look(self) -> None:
        """Take in how full it is, and which requests had to give up their place in it."""
        if self._scheduler is None:
            return
        self._highest = max(self._highest, self._scheduler.kv_cache_manager.usage)
        for name, request in self._scheduler.requests.items():
            if request.num_preemptions:
                self._preempted[name] = request.num_preemptions

    @property
    def highest(self) -> float | None:
        """Largest share of it in use after any step, from 0 to 1."""
        return None if self._scheduler is None else self._highest

    @property
    def preemptions(self) -> int | None:
        """Times that a request gave up its place, and was computed again."""
        return None if self._scheduler is None else sum(self._preempted.values())
