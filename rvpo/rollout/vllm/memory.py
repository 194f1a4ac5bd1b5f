"""The memory of vLLM: on a GPU the share that it is given, on a CPU its weights and KV cache.

Of its share vLLM gives the KV cache what is left when it has measured everything else at its start
(`determine_available_memory` of its GPU worker): weights, the peak of one forward pass over as many
tokens as it takes at once, and the CUDA graphs of its decode steps.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from rvpo.rollout.memory import EngineLoad, EngineMemory, KvCache
from rvpo.rollout.vllm.options import passed_on

if TYPE_CHECKING:
    from rvpo.rollout.vllm.settings import VllmConfig

_GIB: Final = 2**30
_GRAPHS: Final = 1 * _GIB  # of CUDA, a hundred for up to 512 sequences
_ASLEEP: Final = 1 * _GIB  # at most, what stays while it sleeps, and what waits in host memory
_CONTEXT: Final = 0.75 * _GIB  # CUDA's, of a process of its own
_LARGE: Final = 70 * _GIB  # vLLM takes such GPUs for those of a data centre
_BATCH: Final = (16_384, 1024)  # its tokens and sequences at once on those
_SMALL_BATCH: Final = (8192, 256)


@dataclass(frozen=True, slots=True)
class GpuShare:
    """The parts of the memory that vLLM may take of a GPU, in bytes."""

    weights: float
    """Those of the model, and room for the adapters of LoRA."""
    forward: float
    """The peak of a forward pass: activations of its tokens, or the sampler's logits."""
    graphs: float
    cache: float
    """All that is left; negative where the others have no room."""
    most: int
    """Sequences of one forward pass at most."""

    @classmethod
    def of(cls, options: Mapping[str, Any], share: float, load: EngineLoad) -> GpuShare:
        """
        Args:
            options: arguments of vLLM's own that have a value.
            share: `gpu_memory`.
        """
        assert load.device is not None
        tokens, sequences = batch(options, load.device)
        weights = load.weights + load.adapters
        graphs = 0 if options.get("enforce_eager") else _GRAPHS
        forward = max(tokens * load.activations, sequences * load.logits)
        left = share * load.device - weights - forward - graphs
        return cls(weights, forward, graphs, left, sequences)

    def __str__(self) -> str:
        parts = (
            (self.weights, "weights"),
            (self.forward, "a forward pass"),
            (self.graphs, "CUDA graphs"),
            (self.cache, "KV cache"),
        )
        return ", ".join(f"{max(0.0, size) / _GIB:.1f} {name}" for size, name in parts)


def vllm_memory(engine: VllmConfig, load: EngineLoad) -> EngineMemory:
    """The memory of the engine of one training process."""
    if load.device is None:
        kept = engine.cpu_kv_cache_gib * _GIB
        taken = load.weights + load.adapters + kept  # it does not sleep on a CPU
        cache = kv_cache(engine.options, engine.max_context_tokens, load, kept, _SMALL_BATCH[1])
        return EngineMemory(awake=taken, resting=taken, about="vLLM, always awake", cache=cache)
    site = engine.site(on_gpu=True, concurrent=load.concurrent, alone=False)
    parts = GpuShare.of(passed_on(engine.options, site), engine.gpu_memory, load)
    room = engine.gpu_memory * load.device
    here = 0.0 if site.gpu == "own" else room
    # It throws its weights away before it sleeps: new ones come before it generates again. Those
    # that get adapters alone wait in host memory.
    waiting = load.weights if load.adapters else 0.0
    return EngineMemory(
        awake=here,
        resting=_ASLEEP if site.sleeps else here,
        loading=parts.weights + parts.graphs if site.sleeps else None,
        host=_ASLEEP + waiting if site.sleeps else 0.0,
        context=_CONTEXT if site.gpu == "shared" and not site.in_process else 0.0,
        about=f"vLLM {'while it is awake' if site.sleeps else 'always awake'}: {parts}",
        own=room if site.gpu == "own" else 0.0,
        cache=kv_cache(engine.options, engine.max_context_tokens, load, parts.cache, parts.most),
    )


def batch(options: Mapping[str, Any], device: float) -> tuple[int, int]:
    """Tokens, and sequences, of one forward pass at most: those given, or vLLM's choice for a GPU
    of such a size (`get_batch_defaults`, which takes less on A100s)."""
    tokens, sequences = _BATCH if device >= _LARGE else _SMALL_BATCH
    tokens = options.get("max_num_batched_tokens", tokens)
    return tokens, options.get("max_num_seqs", min(sequences, tokens))


def kv_cache(
    options: Mapping[str, Any], context: int | None, load: EngineLoad, size: float, most: int
) -> KvCache:
    """The cache of an engine.

    Args:
        context: `max_context_tokens`.
        size: its bytes on each device.
        most: sequences that are generated at once at most.
    """
    kind = options.get("kv_cache_dtype") or ""
    token = load.token // load.width if kind.startswith("fp8") else load.token  # a byte a number
    longest = context or load.context_tokens or load.sample_tokens
    return KvCache(size=size, tokens=int(size // token), longest=longest, most=most)
