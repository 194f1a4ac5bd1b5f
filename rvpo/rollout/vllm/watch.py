"""Waiting for a vLLM process without waiting for ever."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import Future
from contextlib import AbstractContextManager
from typing import Any, Final, TypeVar

from rvpo.errors import EngineError, RvpoError

T = TypeVar("T")

POLL_S: Final = 0.5
ANSWER_S: Final = 600.0
"""Longest time of one call to an engine in a process of its own, in seconds."""


def answer(call: Callable[[], T], doing: str, seconds: float = ANSWER_S) -> T:
    """Result of a call to a vLLM process.

    Args:
        doing: the engine's task, as in "taking new weights".

    Raises:
        EngineError: the call failed, or took longer than `seconds`.
    """
    future: Future[T] = Future()

    def ask() -> None:
        try:
            future.set_result(call())
        except Exception as error:  # vLLM hands over what went wrong there as anything
            future.set_exception(error)

    threading.Thread(target=ask, name="vLLM call", daemon=True).start()
    try:
        return future.result(seconds)
    except TimeoutError as error:
        raise EngineError(
            f"vLLM did not answer within {seconds:.0f} s while {doing}; its process hangs, or the "
            "machine is far too busy; continue with --resume"
        ) from error
    except RvpoError:
        raise
    except Exception as error:
        from rvpo.runtime.ranks import is_of_ranks  # torch with it, which settings do without

        if is_of_ranks(error):  # in gathering the weights, which is no matter of the engine
            raise
        raise engine_failed(doing, error) from error


def engine_failed(doing: str, error: Exception) -> EngineError:
    """The sentence about an engine that could not do what it was asked for."""
    said = str(error)
    if type(error).__name__ == "EngineDeadError":  # whose words point to a trace that is not there
        said = "its process is gone"
    return EngineError(
        f"vLLM failed while {doing} ({said}); the machine may have run out of memory: lower "
        "rollout.engine.cpu_kv_cache_gib or gpu_memory. Then continue with --resume"
    )


def abort_in_turn(core: Any, calls: AbstractContextManager[Any]) -> None:
    """Have samples that a text ended taken back from an engine's process in turn with what else is
    sent there. vLLM does it within a step, and its socket is for one thread at a time: two end this
    process.

    Args:
        core: the `engine_core` of an `LLM` whose engine is a process of its own.
        calls: held where something is sent; of a kind that one thread may hold twice.
    """
    abort = core.abort_requests

    def in_turn(names: list[str]) -> None:
        if names:
            with calls:
                abort(names)

    core.abort_requests = in_turn


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
        """Stop watching, and let go who still waits: the engine is shut down."""
        self._over.set()
        self._let_go()

    def _watch(self) -> None:
        while not self._core.resources.engine_dead:
            if self._over.wait(POLL_S):
                return
        self._let_go()

    def _let_go(self) -> None:
        from vllm.v1.engine.exceptions import EngineDeadError

        self._core.outputs_queue.put_nowait(EngineDeadError())
        for call in list(self._core.utility_results.values()):
            if not call.done():
                call.set_exception(EngineDeadError())
