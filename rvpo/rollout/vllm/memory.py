"""The memory of vLLM: on a GPU the share that it is given, on a CPU its weights and KV cache.

Of its share vLLM gives the KV cache what is left when it has measured everything else at its start
(`determine_available_memory` of its GPU worker): weights, the peak of one forward pass over as many
tokens as it takes at once, and the CUDA graphs of its decode steps.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from rvpo.rollout.memory import EngineLoad, EngineMemory, KvCache

if TYPE_CHECKING:
    from rvpo.rollout.vllm.settings import VllmConfig

_GIB: Final = 2**30
_GRAPHS: Final = 1 * _GIB  # of CUDA, a hundred for up to 512 sequences
_ASLEEP: Final = 1 * _GIB  # at most, what stays while it sleeps, and what waits in host memory
_CONTEXT: Final = 0.75 * _GIB  # CUDA's, of a process of its own
_LARGE: Final = 70 * _GIB  # vLLM takes such GPUs for those of a data centre
_BATCH: Final = (16_384, 1024)  # its tokens and sequences at once on those
_SMALL_BATCH: Final = (8192, 256)


def vllm_memory(engine: VllmConfig, load: EngineLoad) -> EngineMemory:
    """The memory of the engine of one training process."""
    if load.device is None:
        taken = load.weights + engine.cpu_kv_cache_gib * _GIB  # it does not sleep on a CPU
        return EngineMemory(
            awake=taken, resting=taken, about="vLLM, always awake", cache=_cache(engine, load)
        )
    site = engine.site(on_gpu=True, concurrent=load.concurrent, alone=False)
    share = 0.0 if site.gpu == "own" else engine.gpu_memory * load.device
    return EngineMemory(
        awake=share,
        # It throws its weights away before it sleeps: new ones come before it generates again.
        resting=_ASLEEP if site.sleeps else share,
        loading=load.weights + _GRAPHS if site.sleeps else None,
        host=_ASLEEP if site.sleeps else 0.0,
        context=_CONTEXT if site.gpu == "shared" and not site.in_process else 0.0,
        about=_about(engine, load, load.device, sleeps=site.sleeps),
        cache=_cache(engine, load),
    )


def batch(device: float) -> tuple[int, int]:
    """Tokens, and sequences, of one forward pass at most: vLLM's choice for a GPU of such a size
    (`get_batch_defaults`; it halves the first, and takes a quarter of the second, on A100s)."""
    return _BATCH if device >= _LARGE else _SMALL_BATCH


def profiled(load: EngineLoad, device: float) -> int:
    """The peak of a forward pass: activations of its tokens, or the sampler's logits."""
    tokens, sequences = batch(device)
    return max(tokens * load.activations, sequences * load.logits)


def _cache(engine: VllmConfig, load: EngineLoad) -> KvCache:
    if load.device is None:
        size: float = engine.cpu_kv_cache_gib * _GIB
        most = _SMALL_BATCH[1]
    else:
        size = engine.gpu_memory * load.device - load.weights
        size -= profiled(load, load.device) + _GRAPHS
        most = batch(load.device)[1]
    longest = engine.max_context_tokens or load.context_tokens or load.sample_tokens
    return KvCache(size=size, tokens=int(size // load.token), longest=longest, most=most)


def _about(engine: VllmConfig, load: EngineLoad, device: float, *, sleeps: bool) -> str:
    parts = (
        (load.weights, "weights"),
        (profiled(load, device), "a forward pass"),
        (_GRAPHS, "CUDA graphs"),
        (_cache(engine, load).size, "KV cache"),
    )
    told = ", ".join(f"{max(0.0, size) / _GIB:.1f} {name}" for size, name in parts)
    return f"vLLM {'while it is awake' if sleeps else 'always awake'}: {told}"
