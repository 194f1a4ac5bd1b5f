"""Memory and disk: what the run takes against what there is."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

from rvpo.config.run import RunConfig
from rvpo.errors import ConfigError
from rvpo.plan.machine import Finding, Machine, State
from rvpo.plan.memory import (
    GIB,
    Place,
    cures,
    engine_memory,
    host_memory,
    longest_row,
    memory,
)
from rvpo.plan.shape import ModelShape


@dataclass(frozen=True, slots=True, kw_only=True)
class Devices:
    """Devices that the run is planned for."""

    gpus: int
    """0 for a CPU."""
    memory: float | None
    """Bytes of a GPU, or of the machine where there is none; None if unknown."""
    given: bool
    """True where options gave them, so that nothing else is known of the machine."""

    @classmethod
    def of(
        cls, config: RunConfig, machine: Machine, gpus: int | None, gpu_memory_gib: float | None
    ) -> Devices:
        """
        Args:
            gpus: number to plan for, if not those of this machine.
            gpu_memory_gib: memory of each; alone, it is that of as many as the run needs.

        Raises:
            ConfigError: GPUs of unknown memory, or of none that a GPU can have.
        """
        if gpu_memory_gib is not None and not 0 < gpu_memory_gib * GIB < math.inf:
            raise ConfigError(
                f"--gpu-memory: must be GiB of one GPU, such as 80, got {gpu_memory_gib:g}"
            )
        given = gpus is not None or gpu_memory_gib is not None
        sizes = machine.device_memory
        if gpu_memory_gib is None and gpus and not sizes:
            raise ConfigError(
                "--gpus: this machine has none to take the memory of; give --gpu-memory GIB too"
            )
        needed = config.rollout.engine.gpus_needed(config.distributed.processes)
        count = gpus
        if count is None:
            count = len(sizes) or (needed if gpu_memory_gib else 0)
        if not count:
            found = machine.memory
            return cls(gpus=0, memory=None if found is None else found * GIB, given=given)
        size = gpu_memory_gib if gpu_memory_gib is not None else min(sizes)
        return cls(gpus=count, memory=size * GIB, given=given)


def device_findings(
    config: RunConfig,
    shape: ModelShape,
    judge: ModelShape | None,
    prompt_tokens: int,
    devices: Devices,
    machine: Machine,
) -> list[Finding]:
    """Memory by part, and whether it is there.

    Args:
        judge: the size of a served judge.
        prompt_tokens: those of the longest prompt.
    """
    if not devices.gpus:
        return _on_cpu(config, shape, judge, prompt_tokens, devices)
    assert devices.memory is not None
    served = config.judge.serve if config.judge else None
    place = Place(
        ranks=min(config.distributed.processes, devices.gpus),
        prompt_tokens=prompt_tokens,
        device=devices.memory,
        judge=served.gpu_memory * devices.memory if served else 0.0,
    )
    return [
        _count(config, devices),
        *_parts(config, shape, place),
        *_peaks(config, shape, place, devices.memory),
        *_engine(config, shape, devices.memory),
        *_served(judge, place.judge),
        _host(config, shape, devices, machine),
    ]


def _on_cpu(
    config: RunConfig,
    shape: ModelShape,
    judge: ModelShape | None,
    prompt_tokens: int,
    devices: Devices,
) -> list[Finding]:
    ranks = config.distributed.processes
    parts = memory(config, shape, Place(ranks=ranks, prompt_tokens=prompt_tokens, device=None))
    served = config.judge.serve if config.judge else None
    taken = 2.0 * judge.parameters + served.cpu_kv_cache_gib * GIB if judge and served else 0.0
    peak = ranks * max(parts.update, parts.rollout) + taken
    shards = ranks * (parts.weights + parts.gradients + parts.optimizer + parts.reference)
    found = (
        f"about {peak / GIB:.1f} GiB: {shards / GIB:.1f} for weights, gradients and optimizer, "
        f"{ranks * (parts.gathered + parts.activations + parts.logits) / GIB:.1f} for the update, "
        f"{ranks * parts.engine / GIB:.1f} to generate"
    )
    if taken:
        found += f", {taken / GIB:.1f} for the judge"
    if devices.memory is None:
        return [Finding("memory", "note", f"{found}; how much there is is unknown")]
    state: State = "ok" if peak <= devices.memory else "missing"
    remedy = (
        "" if state == "ok" else "a smaller model, or GPUs: --gpus N --gpu-memory GIB plans them"
    )
    return [Finding("memory", state, f"{found}; {devices.memory / GIB:.1f} available", remedy)]


def _count(config: RunConfig, devices: Devices) -> Finding:
    assert devices.memory is not None
    processes = config.distributed.processes
    if config.rollout.engine.own_gpus():
        return _apart(config, devices)
    size = f"{devices.memory / GIB:.0f} GiB"
    each = f"of {size}" if devices.gpus == 1 else f"of {size} each"
    found = f"{devices.gpus} GPU{'s' if devices.gpus > 1 else ''} {each}"
    if devices.gpus < processes:
        return Finding(
            "GPUs",
            "missing",
            f"{found}, for {processes} processes",
            f"{processes} GPUs, or distributed.processes={devices.gpus}",
        )
    if devices.gpus > processes:
        more = f"distributed.processes={devices.gpus} uses them all"
        return Finding("GPUs", "note", f"{found}, of which {processes} are used", more)
    return Finding("GPUs", "ok", found)


def _apart(config: RunConfig, devices: Devices) -> Finding:
    processes, engine = config.distributed.processes, config.rollout.engine
    found = f"{devices.gpus}, {processes} to train on and {list(engine.own_gpus())} for engines"
    remedy = engine.gpu_remedy(processes, devices.gpus)
    return Finding("GPUs", "missing" if remedy else "ok", found, remedy)


def _parts(config: RunConfig, shape: ModelShape, place: Place) -> Iterator[Finding]:
    parts = memory(config, shape, place)
    update = config.update
    offloaded = "offloaded to the CPU" if update.offload_optimizer else ""
    kept = "recomputed" if update.activation_checkpointing else "kept"
    for name, size, about in (
        ("weights", parts.weights, f"{config.model.precision}, in {place.ranks} shards"),
        ("gradients", parts.gradients, offloaded or "fp32, sharded"),
        ("optimizer", parts.optimizer, offloaded or "fp32 weights and two moments, sharded"),
        ("reference", parts.reference, "weights of the initial policy, sharded"),
        ("gathered", parts.gathered, "weights gathered whole, gradients to be reduced"),
        (
            "activations",
            parts.activations,
            f"{kept}, of a row of {longest_row(config, place):,} tokens",
        ),
        (
            "logits",
            parts.logits,
            f"over {shape.vocabulary:,} tokens, of {update.logits_chunk} places at a time",
        ),
        ("engine", parts.engine, engine_memory(config, shape, place.device).about),
        ("judge", parts.judge, "served on the same GPU"),
        ("context", parts.context, "CUDA, NCCL, what cannot be used"),
    ):
        if size or about == offloaded:
            yield Finding(f"  {name}", "ok", f"{size / GIB:.1f} GiB: {about}")


def _peaks(
    config: RunConfig, shape: ModelShape, place: Place, available: float
) -> Iterator[Finding]:
    parts = memory(config, shape, place)
    fits = max(parts.update, parts.rollout) <= available
    remedy = "" if fits else "; or ".join(cures(config, shape, place))
    for name, size in (("update", parts.update), ("rollout", parts.rollout)):
        state: State = "ok" if size <= available else "missing"
        found = f"{size / GIB:.1f} GiB a GPU at most, of {available / GIB:.1f}"
        help = remedy or "larger GPUs, or a smaller model"
        yield Finding(f"{name} peak", state, found, help if state == "missing" else "")


def _engine(config: RunConfig, shape: ModelShape, device: float) -> Iterator[Finding]:
    for room in engine_memory(config, shape, device).rooms:
        yield Finding(room.part, "ok" if room.fits else "missing", room.found, room.remedy)


def _served(judge: ModelShape | None, share: float) -> Iterator[Finding]:
    needed = 2 * judge.parameters if judge is not None else 0
    if needed > share:
        yield Finding(
            "served judge",
            "missing",
            f"its share of {share / GIB:.1f} GiB does not hold its {needed / GIB:.1f} GiB",
            "raise judge.serve.gpu_memory, or serve a smaller judge",
        )


def _host(config: RunConfig, shape: ModelShape, devices: Devices, machine: Machine) -> Finding:
    assert devices.memory is not None
    ranks = min(config.distributed.processes, devices.gpus)
    needed = host_memory(config, shape, devices.memory, ranks) / GIB
    found = f"{needed:.1f} GiB beside the GPUs, on one machine"
    if devices.given or machine.memory is None:
        return Finding("host memory", "ok", found)
    found += f"; {machine.memory:.1f} available"
    if needed <= machine.memory:
        return Finding("host memory", "ok", found)
    return Finding("host memory", "missing", found, "more memory, or fewer processes a machine")
