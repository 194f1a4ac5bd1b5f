"""The memory of a GPU in each moment of a run, as findings."""

from __future__ import annotations

from collections.abc import Iterator

from rvpo.config.run import RunConfig
from rvpo.plan.adapters import adapter_parameters
from rvpo.plan.levers import Way, way_to_room, ways_to_fit
from rvpo.plan.machine import Finding, State
from rvpo.plan.memory import (
    GIB,
    RESERVE,
    Place,
    engine_load,
    engine_memory,
    longest_row,
    memory,
    rollout_samples,
)
from rvpo.plan.shape import ModelShape


def gpu_findings(config: RunConfig, shape: ModelShape, place: Place) -> list[Finding]:
    """Memory by part, the moments that take most, room to generate, and whether all that fits."""
    return [
        *_parts(config, shape, place),
        *_peaks(config, shape, place),
        *cache_findings(config, shape, place),
        *_verdict(config, shape, place),
    ]


def cache_findings(config: RunConfig, shape: ModelShape, place: Place) -> list[Finding]:
    """Tokens that the engine has room for, and samples that it generates at once."""
    cache = engine_memory(config, shape, place).cache
    if cache is None:
        return []
    found = f"room for {max(0, cache.tokens):,} tokens of keys and values"
    if not cache.fits:
        found += f", and not for a sequence of full length, {cache.longest:,}"
        return [Finding("KV cache", "missing", found)]
    way, length = Way(config, place), engine_load(config, shape, place).sample_tokens
    length = min(length, cache.longest)
    found += f", {max(0.0, cache.size) / GIB:.1f} GiB"
    at_once = f"{way.at_once(shape):,} samples at once of {length:,} tokens, prompt and completion"
    if cache.longest != length:
        at_once += f" ({cache.at_once(cache.longest):,} of the full context, {cache.longest:,})"
    at_once += f"; a rollout has {rollout_samples(config, place):,}"
    findings = [Finding("KV cache", "ok", found)]
    if place.device is None or not way.starves(shape):
        return [*findings, Finding("decoding", "ok", at_once)]
    weights = engine_load(config, shape, place).weights / GIB
    at_once += (
        f". Generation is starved: a step reads {weights:.1f} GiB of weights, more than the keys "
        "and values that have room"
    )
    better = way_to_room(config, shape, place)
    remedy = f"{better}: {better.at_once(shape):,} at once" if better else ""
    return [*findings, Finding("decoding", "note", at_once, remedy)]


def _parts(config: RunConfig, shape: ModelShape, place: Place) -> Iterator[Finding]:
    parts, update = memory(config, shape, place), config.update
    offloaded = "in host memory" if update.offload_optimizer else ""
    moved = ", in host memory while generating" if config.offloads(on_gpu=True) else ""
    given_up = ", given up while generating" if config.offloads(on_gpu=True) else ""
    kept = "recomputed" if update.activation_checkpointing else "kept"
    master = "fp32 weights and two moments" if config.model.weight_bytes < 4 else "two moments"
    lora = adapter_parameters(config, shape) / 1e6
    of = f" of adapters, {lora:,.1f} million parameters" if lora else ""
    bits = config.model.base_bits
    kind = config.model.precision + (f", linear layers in {bits} bits" if bits else "")
    frozen = ", which stay as they are, and adapters" if lora else ""
    for name, size, about in (
        ("weights", parts.weights, f"{kind}, in {place.ranks} shards{frozen}"),
        ("reference", parts.reference, "weights of the initial policy, sharded"),
        ("optimizer", parts.optimizer, offloaded or f"{master}{of}, sharded{moved}"),
        ("gradients", parts.gradients, offloaded or f"fp32, sharded{given_up}"),
        ("buffers", parts.buffers, f"DeepSpeed's, for gradients on their way{given_up}"),
        ("contexts", parts.context, "CUDA, and NCCL between ranks"),
        ("reserve", parts.reserve, "2 %, in gaps that an allocator cannot use"),
        ("judge", parts.judge, "served on the same GPU"),
        ("gathered", parts.gathered, "weights gathered whole, gradients sorted by rank"),
        (
            "activations",
            parts.activations,
            f"{kept}, of a row of {longest_row(config, place):,} tokens",
        ),
        (
            "logits",
            parts.logits,
            f"over {shape.vocabulary:,} tokens, of {update.chunk(on_gpu=True)} places at a time",
        ),
        ("engine", parts.engine, engine_memory(config, shape, place).about),
    ):
        if size or about == offloaded:
            yield Finding(f"  {name}", "ok", f"{size / GIB:.1f} GiB: {about}")


def _peaks(config: RunConfig, shape: ModelShape, place: Place) -> Iterator[Finding]:
    assert place.device is not None
    for name, size in memory(config, shape, place).peaks.items():
        state: State = "ok" if size <= place.device else "missing"
        found = f"{size / GIB:.1f} GiB a GPU at most, of {place.device / GIB:.1f}"
        yield Finding(f"{name} peak", state, f"{found}, {_MOMENTS[name]}")


_MOMENTS = {
    "start": "when the engine has started",
    "resume": "while a checkpoint is read",
    "sync": "while the engine takes new weights",
    "rollout": "while it generates",
    "update": "in the backward pass of the longest row",
}


def _verdict(config: RunConfig, shape: ModelShape, place: Place) -> list[Finding]:
    """One sentence where something does not fit."""
    if Way(config, place).fits(shape):
        return []
    found = f"does not fit: {lacking(config, shape, place)}"
    if ways := ways_to_fit(config, shape, place):
        remedy = "; or ".join(map(str, ways))
        remedy += f"; {'it' if len(ways) == 1 else 'each'} fits, by the same sums"
        return [Finding("memory", "missing", found, remedy)]
    whole = engine_load(config, shape, place).weights / GIB
    found += f", and no other setting helps: an engine has {whole:.1f} GiB of weights on a GPU"
    remedy = "a smaller model, or one that servers divide; --nodes N looks for a split that fits"
    return [Finding("memory", "missing", found, remedy)]


def lacking(config: RunConfig, shape: ModelShape, place: Place) -> str:
    assert place.device is not None
    own = engine_memory(config, shape, place).own
    if own > (1 - RESERVE) * place.device:
        return "the engines take more of their own GPUs than there is"
    peaks = memory(config, shape, place).peaks
    name = max(peaks, key=peaks.__getitem__)
    if peaks[name] > place.device:
        taken = f"{peaks[name] / GIB:.1f} GiB of a GPU's {place.device / GIB:.1f}"
        return f"it takes {taken} {_MOMENTS[name]}"
    return "the engine's share of a GPU holds the weights and no sequence of full length"
