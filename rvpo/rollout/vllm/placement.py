"""The place of a vLLM engine, and so the way in which new weights reach it."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Final, Literal

import torch

from rvpo.config.run import RolloutConfig, VllmConfig
from rvpo.errors import ConfigError
from rvpo.runtime.environment import RANK_VARIABLES
from rvpo.runtime.ranks import Ranks

Way = Literal["handed", "shared", "ipc", "nccl"]
"""Way of the weights to the engine, see `rvpo.rollout.vllm.transport`."""

_GPUS: Final = "CUDA_VISIBLE_DEVICES"


@dataclass(frozen=True)
class Placement:
    """The place of one rank's engine."""

    way: Way = "handed"
    gpu: str | None = None
    """The only GPU that a process of its own is to see."""

    @property
    def in_process(self) -> bool:
        """True where the engine runs in the trainer's process."""
        return self.way == "handed"

    @property
    def sleeps(self) -> bool:
        """True where the engine gives its memory away between rollouts: where it has the trainer's
        GPU, and never works while that does."""
        return self.in_process and torch.cuda.is_available()

    @contextmanager
    def environment(self) -> Iterator[None]:
        """Let an engine started meanwhile form a group of its own, not join the trainer's, and see
        its own GPU alone."""
        names = () if self.in_process else (*RANK_VARIABLES, _GPUS)
        saved = {name: os.environ.pop(name) for name in names if name in os.environ}
        if self.gpu is not None:
            os.environ[_GPUS] = self.gpu
        try:
            yield
        finally:
            if self.gpu is not None:
                del os.environ[_GPUS]
            os.environ.update(saved)


def place(
    rollout: RolloutConfig,
    ranks: Ranks,
    gpus: int | None = None,
    environment: Mapping[str, str] = os.environ,
) -> Placement:
    """The place of this rank's engine.

    On CPUs: in process where there is one rank and rollouts are made in turn, else in a process of
    its own, for vLLM and the trainer would fight over the process group, or over the interpreter.
    On GPUs: in process, asleep while the policy learns; in a process of its own where the next
    rollout is made meanwhile; on a GPU of its own where `devices` names one.

    Args:
        gpus: number of them on this machine, if not those that torch sees.
        environment: this process's.

    Raises:
        ConfigError: `devices` are not GPUs that this machine has and training leaves alone.
    """
    devices = rollout.engine.devices if isinstance(rollout.engine, VllmConfig) else ()
    if ranks.device.type != "cuda":
        if devices:
            raise ConfigError("rollout.engine.devices: this machine has no GPU; leave it out here")
        alone = ranks.size == 1 and not rollout.staleness
        return Placement("handed" if alone else "shared")
    mine = ranks.device.index or 0
    if devices:
        count = torch.cuda.device_count() if gpus is None else gpus
        _check(devices, count, int(environment.get("LOCAL_WORLD_SIZE", "1")))
        return Placement("nccl", _visible(devices[mine], environment))
    if rollout.staleness:
        return Placement("ipc", _visible(mine, environment))
    return Placement("handed")


def _check(devices: tuple[int, ...], count: int, trainers: int) -> None:
    wrong = [n for n in devices if not trainers <= n < count]
    if wrong or len(devices) < trainers or len(set(devices)) < len(devices):
        raise ConfigError(
            f"rollout.engine.devices: {list(devices)} must be {trainers} different GPUs of this "
            f"machine's {count}, one for each training process, and not the first {trainers}, on "
            f"which it trains; write for example {list(range(trainers, 2 * trainers))}"
        )


def _visible(gpu: int, environment: Mapping[str, str]) -> str:
    """The GPU as CUDA names it outside this process, which may see only some."""
    seen = environment.get(_GPUS)
    return seen.split(",")[gpu].strip() if seen else str(gpu)
