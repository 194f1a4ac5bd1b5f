"""Reasons of vLLM's not to start or go on, and the settings of rvpo that they call for."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import TYPE_CHECKING

from rvpo.errors import EngineError, RvpoError, ShortageError
from rvpo.runtime.process import own_words
from rvpo.runtime.shortage import shortage_line, words_of_shortage

if TYPE_CHECKING:
    from rvpo.rollout.vllm.settings import VllmConfig


def not_started(model: str, error: Exception, config: VllmConfig, *, on_gpu: bool) -> RvpoError:
    """The sentence about an engine that did not start.

    Args:
        error: the one that vLLM raised. Of an engine in a process of its own it holds no reason:
            that is in the log, which is this process's standard error.
    """
    is_elsewhere = "See root cause above" in str(error)
    said = "\n".join([str(error), *([own_words()] if is_elsewhere else [])])
    begin = f"vLLM did not start on {model!r}: "
    if found := re.search(
        r"No available memory for the cache blocks|.*KV ?cache is needed.*", said
    ):
        more = (
            f"raise rollout.engine.gpu_memory, which is {config.gpu_memory:g}"
            if on_gpu
            else f"raise rollout.engine.cpu_kv_cache_gib, which is {config.cpu_kv_cache_gib}"
        )
        return ShortageError(
            f"{begin}its share of the memory does not hold the model and one sequence of full "
            f"length ({_short(found[0])}); {more}, or lower rollout.engine.max_context_tokens"
        )
    if found := re.search(r"Free memory on device.*|Available memory on node.*", said):
        return ShortageError(
            f"{begin}less is free than its share ({_short(found[0])}); lower "
            f"rollout.engine.gpu_memory, which is {config.gpu_memory:g}, set "
            "update.offload_optimizer=true, or end what else is on the device: nvidia-smi shows it"
        )
    if found := re.search(r"Error in memory profiling.*", said):
        return ShortageError(
            f"{begin}another program freed memory of the GPU meanwhile ({_short(found[0])}); leave "
            "the GPU to this run alone, and start again"
        )
    words = words_of_shortage(error) or (shortage_line(said) if is_elsewhere else None)
    if words is not None:
        return ShortageError(f"{begin}memory ran out ({words}); {', or '.join(lighter(config))}")
    return EngineError(f"{begin}{str(error) or type(error).__name__}")


def lighter(config: VllmConfig, *, on_gpu: bool = True) -> Iterator[str]:
    """Changes of the settings with which an engine takes less memory, or has more of it."""
    if not on_gpu:
        yield f"lower rollout.engine.cpu_kv_cache_gib, which is {config.cpu_kv_cache_gib}"
        yield "take a smaller model"
        return
    yield f"lower rollout.engine.gpu_memory, which is {config.gpu_memory:g}"
    yield "set update.offload_optimizer=true"
    yield "give engines GPUs of their own by rollout.engine.devices"


def _short(words: str) -> str:
    return (
        words.split(" Decrease ")[0].split(" Try ")[0].split(" This happens")[0].strip(" .")[:240]
    )
