"""The memory of vLLM: on a GPU the share that it is given, on a CPU its weights and KV cache."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Final

from rvpo.rollout.memory import EngineLoad, EngineMemory, Room

if TYPE_CHECKING:
    from rvpo.rollout.vllm.settings import VllmConfig

_GIB: Final = 2**30
_ASLEEP: Final = 1 * _GIB  # what vLLM keeps on a GPU while it sleeps
_PROFILED: Final = 1.5 * _GIB  # what vLLM sets aside for its own activations


def vllm_memory(engine: VllmConfig, load: EngineLoad) -> EngineMemory:
    """The memory of the engine of one training process."""
    if load.device is None:
        taken = load.weights + engine.cpu_kv_cache_gib * _GIB  # it does not sleep on a CPU
        return EngineMemory(awake=taken, resting=taken, about="vLLM, always awake")
    site = engine.site(on_gpu=True, concurrent=load.concurrent, alone=False)
    share = 0.0 if site.gpu == "own" else engine.gpu_memory * load.device
    return EngineMemory(
        awake=share,
        resting=_ASLEEP if site.sleeps else share,
        host=load.weights if site.sleeps else 0.0,
        about="vLLM while it is awake" if site.sleeps else "vLLM, always awake",
        rooms=(_cache(engine, load, load.device),),
    )


def kv_tokens(engine: VllmConfig, load: EngineLoad) -> int:
    """Tokens for which vLLM's share of the memory has room beside the weights; may be negative."""
    if load.device is None:
        room: float = engine.cpu_kv_cache_gib * _GIB
    else:
        room = engine.gpu_memory * load.device - load.weights - _PROFILED
    return int(room // load.token)


def enough_share(engine: VllmConfig, load: EngineLoad, device: float) -> float:
    """The share of a GPU that vLLM needs for the weights and one sequence of full length."""
    lacking = _longest(engine, load) - kv_tokens(engine, load)
    return engine.gpu_memory + load.token * lacking / device


def _longest(engine: VllmConfig, load: EngineLoad) -> int:
    return engine.max_context_tokens or load.completion_tokens


def _cache(engine: VllmConfig, load: EngineLoad, device: float) -> Room:
    tokens, longest = kv_tokens(engine, load), _longest(engine, load)
    if tokens >= longest:
        found = (
            f"room for {tokens:,} tokens, {tokens // longest:,} sequences of full length at once"
        )
        return Room(part="KV cache", fits=True, found=found)
    share, whole = engine.gpu_memory * device / _GIB, load.weights / _GIB
    enough = math.ceil(20 * enough_share(engine, load, device)) / 20
    return Room(
        part="KV cache",
        fits=False,
        found=f"vLLM's share of {share:.1f} GiB does not hold the model, {whole:.1f} GiB, and one "
        "sequence",
        remedy=f"rollout.engine.gpu_memory={enough:.2f}" if enough < 1 else "larger GPUs",
    )
