"""Somebody who tells those that wait for a vLLM process of its death."""

from __future__ import annotations

import threading
from typing import Any, Final

POLL_S: Final = 0.5


class Watch:
    """vLLM notices that its engine process died and refuses new calls, but leaves who waits for an
    answer waiting for ever. This thread gives each of them vLLM's own error.

    Args:
        core: the `engine_core` of an `LLM` whose engine is a process of its own.
    """

    def __init__(self, core: Any) -> None:
        self._core = core
        self._over = threading.Event()
        threading.Thread(target=self._watch, name="vLLM watch", daemon=True).start()

    def close(self) -> None:
        """Stop watching: an orderly end is no death."""
        self._over.set()

    def _watch(self) -> None:
        from vllm.v1.engine.exceptions import EngineDeadError

        while not self._core.resources.engine_dead:
            if self._over.wait(POLL_S):
                return
        self._core.outputs_queue.put_nowait(EngineDeadError())
        for call in list(self._core.utility_results.values()):
            if not call.done():
                call.set_exception(EngineDeadError())
