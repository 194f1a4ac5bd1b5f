"""Memory and disk: what the run takes against what there is."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from rvpo.config.run import RunConfig
from rvpo.errors import ConfigError
from rvpo.plan.card import usable
from rvpo.plan.cluster import training_nodes
from rvpo.plan.gpu import cache_findings, gpu_findings
from rvpo.plan.machine import Finding, Machine, State
from rvpo.plan.memory import (
    GIB,
    HostParts,
    Place,
    host_parts,
    memory,
    model_bytes,
)
from rvpo.plan.served import served_findings, shares_of_trainers, taken_of_host
from rvpo.plan.servers import engine_findings
from rvpo.plan.shape import ModelShape
from rvpo.rollout import ServersConfig


@dataclass(frozen=True, slots=True, kw_only=True)
class Devices:
    """Devices that the run is planned for."""

    gpus: int
    """0 for a CPU."""
    memory: float | None
    """Bytes of a GPU, or of the machine where there is none; None if unknown."""
    given: bool
    """True where options gave them, so that nothing else is known of the machine."""
    nodes: int | None = None
    """Machines that the run is planned for, each with `gpus`; None where that was not asked."""
    training: int = 1
    """Those on which it trains; servers have the others."""
    sold: float | None = None
    """GB by which a GPU was given that has fewer GiB; None where it was measured or given so."""

    @classmethod
    def of(
        cls,
        config: RunConfig,
        machine: Machine,
        gpus: int | None,
        gpu_memory_gib: float | None,
        nodes: int | None = None,
    ) -> Devices:
        """
        Args:
            nodes: machines to plan for, those of servers among them; if not given, one, and servers
                that have addresses are elsewhere.
            gpus: number to plan for, if not those of this machine.
            gpu_memory_gib: memory of each, or the size that it is sold by; alone, it is that of as
                many as the run needs.

        Raises:
            ConfigError: GPUs of unknown memory, or of none that a GPU can have; nodes without
                GPUs, or too few for the servers.
        """
        there = cls._of_a_node(config, machine, gpus, gpu_memory_gib)
        if nodes is None:
            return there
        if not there.gpus:
            raise ConfigError(
                "--nodes: this machine has no GPU; give --gpus N --gpu-memory GIB too"
            )
        return replace(there, nodes=nodes, training=training_nodes(config, nodes, there.gpus))

    @classmethod
    def _of_a_node(
        cls, config: RunConfig, machine: Machine, gpus: int | None, gpu_memory_gib: float | None
    ) -> Devices:
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
        served = (judge.serve for judge in config.every_judge.values())
        needed = max(needed, *(each.gpus_needed for each in served if each is not None), 0)
        count = gpus
        if count is None:
            count = len(sizes) or (needed if gpu_memory_gib else 0)
        if not count:
            found = machine.memory
            return cls(gpus=0, memory=None if found is None else found * GIB, given=given)
        if gpu_memory_gib is None:
            return cls(gpus=count, memory=min(sizes) * GIB, given=given)
        size = usable(gpu_memory_gib)
        sold = gpu_memory_gib if size < gpu_memory_gib else None
        return cls(gpus=count, memory=size * GIB, given=given, sold=sold)

    def place(self, config: RunConfig, prompt_tokens: int, judges: Sequence[float] = ()) -> Place:
        """The place of each training process on GPUs.

        Args:
            prompt_tokens: those of the longest prompt.
            judges: bytes that each judge takes of its GPU.
        """
        return Place(
            ranks=min(config.distributed.processes, self.gpus) * self.training,
            prompt_tokens=prompt_tokens,
            device=self.memory,
            judge=sum(judges),
            judges=len(judges),
        )


def device_findings(
    config: RunConfig,
    shape: ModelShape,
    judges: Mapping[str, ModelShape | None],
    prompt_tokens: int,
    devices: Devices,
    machine: Machine,
) -> list[Finding]:
    """Memory by part, and whether it is there.

    Args:
        judges: the sizes of served judges, by name.
        prompt_tokens: those of the longest prompt.
    """
    if not devices.gpus:
        on_cpu = Place(ranks=config.distributed.processes, prompt_tokens=prompt_tokens, device=None)
        found = _on_cpu(config, shape, judges, on_cpu, devices)
        return [found, *cache_findings(config, shape, on_cpu)]
    assert devices.memory is not None
    shared = shares_of_trainers(config, judges, devices.memory)
    place = devices.place(config, prompt_tokens, shared)
    return [
        _count(config, devices),
        *engine_findings(config, shape, place),
        *gpu_findings(config, shape, place),
        *served_findings(config, judges, devices.gpus, devices.memory),
        _host(config, shape, devices, place, machine),
    ]


def _on_cpu(
    config: RunConfig,
    shape: ModelShape,
    judges: Mapping[str, ModelShape | None],
    place: Place,
    devices: Devices,
) -> Finding:
    ranks, parts = place.ranks, memory(config, shape, place)
    taken = taken_of_host(config, judges)
    peak = ranks * parts.peak + taken
    shards = ranks * (parts.weights + parts.gradients + parts.optimizer + parts.reference)
    update = parts.buffers + parts.gathered + parts.activations + parts.logits
    found = (
        f"about {peak / GIB:.1f} GiB: {shards / GIB:.1f} for weights, gradients and optimizer, "
        f"{ranks * update / GIB:.1f} for the update, "
        f"{ranks * parts.engine / GIB:.1f} to generate"
    )
    if taken:
        found += f", {taken / GIB:.1f} for the judge" + "s" * (len(judges) > 1)
    if devices.memory is None:
        return Finding("memory", "note", f"{found}; how much there is is unknown")
    state: State = "ok" if peak <= devices.memory else "missing"
    remedy = (
        "" if state == "ok" else "a smaller model, or GPUs: --gpus N --gpu-memory GIB plans them"
    )
    return Finding("memory", state, f"{found}; {devices.memory / GIB:.1f} available", remedy)


def _count(config: RunConfig, devices: Devices) -> Finding:
    processes, found = config.distributed.processes, f"{_there(devices)}{_sold(devices)}"
    if config.rollout.engine.own_gpus():
        return _apart(config, devices)
    if devices.gpus < processes:
        return Finding(
            "GPUs",
            "missing",
            f"{found}, for {processes} processes",
            f"{processes} GPUs, or distributed.processes={devices.gpus}",
        )
    ranks, prompts = processes * devices.training, config.rollout.prompts_per_step
    if prompts % ranks:
        remedy = f"rollout.prompts_per_step={ranks * max(1, round(prompts / ranks))}"
        unequal = f"{found}, of which {ranks} cannot share {prompts} prompts equally"
        return Finding("GPUs", "missing", unequal, remedy)
    if beside := (devices.nodes or 1) - devices.training:
        found += f": {devices.training} to train on, {beside} for servers"
    if devices.gpus > processes and not isinstance(config.rollout.engine, ServersConfig):
        more = f"distributed.processes={devices.gpus} uses them all"
        return Finding("GPUs", "note", f"{found}, of which {processes} are used", more)
    return Finding("GPUs", "ok", found)


def _there(devices: Devices) -> str:
    assert devices.memory is not None
    size = f"{devices.memory / GIB:.1f} GiB"
    gpus = f"{devices.gpus} GPUs of {size} each" if devices.gpus > 1 else f"1 GPU of {size}"
    several = devices.nodes is not None and devices.nodes > 1
    return f"{devices.nodes} nodes, each of {gpus}" if several else gpus


def _sold(devices: Devices) -> str:
    return "" if devices.sold is None else f", as torch finds of those sold as {devices.sold:g} GB"


def _apart(config: RunConfig, devices: Devices) -> Finding:
    processes, engine = config.distributed.processes, config.rollout.engine
    found = f"{devices.gpus}, {processes} to train on and {list(engine.own_gpus())} for engines"
    found += _sold(devices)
    remedy = engine.gpu_remedy(processes, devices.gpus)
    return Finding("GPUs", "missing" if remedy else "ok", found, remedy)


def _host(
    config: RunConfig, shape: ModelShape, devices: Devices, place: Place, machine: Machine
) -> Finding:
    parts = host_parts(config, shape, place, place.ranks // devices.training)
    needed = parts.total / GIB
    found = f"{needed:.1f} GiB beside the GPUs, on one machine"
    found += f": {words}" if (words := _of_host(config, parts)) else ""
    from rvpo.trainer.export import SHARD_BYTES  # safetensors with it

    saved = min(SHARD_BYTES, model_bytes(config, shape)) / GIB
    found += f"; {saved:.1f} more while rank 0 saves the model"
    if devices.given or machine.memory is None:
        return Finding("host memory", "ok", found)
    found += f"; {machine.memory:.1f} available"
    if needed <= machine.memory:
        return Finding("host memory", "ok", found)
    remedy = "more memory, or fewer processes a machine"
    if config.offloads(on_gpu=True):
        remedy += ", or update.offload_while_generating=false"
    if parts.engines and _waits(config):
        remedy += (
            ", or rollout.engine={name: servers} or model.lora.sync=merged, with which no engine's "
            "weights wait there"
        )
    return Finding("host memory", "missing", found, remedy)


def _of_host(config: RunConfig, parts: HostParts) -> str:
    """The parts of a machine's memory in words, those that take nothing left out."""
    asleep = "engines asleep, whose weights wait there" if _waits(config) else "engines asleep"
    moves = config.offloads(on_gpu=True) and not config.update.offload_optimizer
    optimizer = "the optimizer while generating, pinned" if moves else "the optimizer"
    named = (
        (parts.engines, asleep),
        (parts.optimizer, optimizer),
        (parts.weights, "the weights that learn"),
    )
    return ", ".join(f"{size / GIB:.1f} for {name}" for size, name in named if size)


def _waits(config: RunConfig) -> bool:
    """True where an engine that sleeps keeps its weights, as it gets adapters alone."""
    return config.model.sent_adapter is not None
