"""Nodes of a run that are all alike, and which of them train."""

from __future__ import annotations

from rvpo.config.run import RunConfig
from rvpo.errors import ConfigError
from rvpo.rollout import ServersConfig


def training_nodes(config: RunConfig, nodes: int, gpus: int) -> int:
    """Nodes on which a run trains, as many as its servers leave: all of them where each training
    process has its own engine, or where the GPUs beside those of training are enough.

    Args:
        nodes: all of them.
        gpus: GPUs of each.

    Raises:
        ConfigError: servers and one node that trains do not have room.
    """
    engine, trainers = config.rollout.engine, min(config.distributed.processes, gpus)
    if not isinstance(engine, ServersConfig) or engine.start is not None:
        return nodes
    whole, beside = gpus // engine.tensor_parallel, (gpus - trainers) // engine.tensor_parallel
    for training in range(nodes, 0, -1):
        if training * beside + (nodes - training) * whole >= engine.count:
            return training
    needed = 1 + -(-(engine.count - beside) // whole) if whole else 0
    remedy = f"--nodes {needed}" if needed else f"nodes of {engine.tensor_parallel} GPUs or more"
    raise ConfigError(
        f"--nodes: {nodes} of {gpus} GPUs have no room for {engine.count} servers of "
        f"{engine.tensor_parallel} GPUs beside {trainers} that train on one of them; it takes "
        f"{remedy}, or fewer rollout.engine.urls"
    )
