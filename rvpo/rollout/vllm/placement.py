"""The place of a vLLM engine on this machine, and the way in which new weights reach it."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass

import torch

from rvpo.errors import ConfigError
from rvpo.rollout.lora_config import LoraConfig
from rvpo.rollout.vllm.adapters import AdapterFiles
from rvpo.rollout.vllm.settings import VllmConfig
from rvpo.rollout.vllm.site import Site
from rvpo.rollout.vllm.transports import WeightTransport, usual_transport
from rvpo.runtime.environment import RANK_VARIABLES
from rvpo.runtime.gpus import VISIBLE, named
from rvpo.runtime.ranks import Ranks


@dataclass(frozen=True)
class Placement:
    """The place of one rank's engine."""

    site: Site
    transport: WeightTransport
    visible: str | None = None
    """The only GPU that a process of its own is to see, as CUDA names it."""

    @contextmanager
    def environment(self) -> Iterator[None]:
        """Let an engine started meanwhile form a group of its own, not join the trainer's, and see
        its own GPU alone."""
        names = () if self.site.in_process else (*RANK_VARIABLES, VISIBLE)
        saved = {name: os.environ.pop(name) for name in names if name in os.environ}
        if self.visible is not None:
            os.environ[VISIBLE] = self.visible
        try:
            yield
        finally:
            if self.visible is not None:
                del os.environ[VISIBLE]
            os.environ.update(saved)


def place(
    engine: VllmConfig,
    ranks: Ranks,
    *,
    concurrent: bool,
    adapter: LoraConfig | None = None,
    gpus: int | None = None,
    environment: Mapping[str, str] = os.environ,
) -> Placement:
    """The place of this rank's engine.

    Args:
        concurrent: it generates while the policy learns.
        adapter: the one that it is given in place of weights.
        gpus: number of them on this machine, if not those that torch sees.
        environment: this process's.

    Raises:
        ConfigError: the engine has a `problem` here, or its `devices` are not GPUs that this
            machine has and training leaves alone.
    """
    on_gpu = ranks.device.type == "cuda"
    alone = ranks.size == 1
    if problem := engine.problem(on_gpu=on_gpu, concurrent=concurrent, alone=alone):
        raise ConfigError(problem)
    site = engine.site(on_gpu=on_gpu, concurrent=concurrent, alone=alone)
    visible = None
    if site.gpu == "own":
        count = torch.cuda.device_count() if gpus is None else gpus
        _check(engine, count, int(environment.get("LOCAL_WORLD_SIZE", "1")))
        visible = named([engine.devices[ranks.device.index or 0]], environment)
    elif site.gpu == "shared" and not site.in_process:
        visible = named([ranks.device.index or 0], environment)
    transport: WeightTransport = engine.transport or usual_transport(site)
    if adapter is not None:
        transport = AdapterFiles(adapter=adapter, in_process=site.in_process)
    return Placement(site, transport, visible)


def _check(engine: VllmConfig, count: int, trainers: int) -> None:
    if not engine.has_devices(trainers, count):
        raise ConfigError(
            f"rollout.engine.devices: {list(engine.devices)} must be {trainers} different GPUs of "
            f"this machine's {count}, one for each training process, and not the first {trainers}, "
            f"on which it trains; write for example {list(range(trainers, 2 * trainers))}"
        )
