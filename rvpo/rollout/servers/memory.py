"""The memory of a server: a share of each of its GPUs, or its weights and KV cache on a CPU."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from rvpo.rollout.memory import EngineLoad, EngineMemory
from rvpo.rollout.vllm.memory import GpuShare, kv_cache

if TYPE_CHECKING:
    from rvpo.rollout.servers.settings import ServersConfig

_GIB: Final = 2**30
_PACKED: Final = 2 * _GIB
"""vLLM's two buffers for weights that go by NCCL (`packed_tensor`), on either side."""


def servers_memory(engine: ServersConfig, load: EngineLoad) -> EngineMemory:
    """The memory of one server. It takes nothing of a GPU that trains but to send it weights; one
    that is started on a CPU shares the machine with training."""
    name = f"{engine.count} vLLM server{'s' if engine.count != 1 else ''}"
    options = {key: value for key, value in engine.options.items() if value is not None}
    if load.device is None:
        kept = engine.cpu_kv_cache_gib * _GIB
        taken = 0.0 if engine.start is None else load.weights + load.adapters + kept
        cache = kv_cache(options, engine.max_context_tokens, load, kept, engine.at_once)
        return EngineMemory(awake=taken, resting=taken, about=name, cache=cache)
    parts = GpuShare.of(options, engine.gpu_memory, load)
    most = min(parts.most, engine.at_once)
    packed = 0 if load.adapters or engine.weights == "gloo" else _PACKED
    return EngineMemory(
        awake=0.0,
        resting=0.0,
        sending=packed,
        own=engine.gpu_memory * load.device + packed,
        about=f"{name}, on GPUs of their own: {parts}",
        cache=kv_cache(options, engine.max_context_tokens, load, parts.cache, most),
    )
