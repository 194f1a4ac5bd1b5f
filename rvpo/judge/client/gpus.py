"""The GPUs of a served judge, apart from those of training or shared with it."""

from __future__ import annotations

import os
from collections.abc import Mapping

import torch

from rvpo.config.judge import ServeConfig
from rvpo.config.judges import OWN
from rvpo.errors import ConfigError
from rvpo.runtime.gpus import named
from rvpo.runtime.ranks import Ranks


def judge_gpus(
    serve: ServeConfig,
    ranks: Ranks,
    *,
    where: str = OWN,
    gpus: int | None = None,
    environment: Mapping[str, str] = os.environ,
) -> str | None:
    """The GPUs that the server is to see, as CUDA names them; None for those of this process.

    Args:
        where: the section of the judge, for messages.
        gpus: number of them on this machine, if not those that torch sees.
        environment: this process's.

    Raises:
        ConfigError: they are not there, or training has them.
    """
    on_gpu = ranks.device.type == "cuda"
    count = (torch.cuda.device_count() if gpus is None else gpus) if on_gpu else 0
    if serve.devices:
        first = int(environment.get("LOCAL_WORLD_SIZE", "1"))
        _check_devices(serve, first, count, where)
        return named(serve.devices, environment)
    if serve.gpus > max(1, count):
        raise ConfigError(
            f"{where}.serve.tensor_parallel: {serve.gpus} GPUs are more than this machine's "
            f"{count}; make it smaller, or leave it out"
        )
    return None


def _check_devices(serve: ServeConfig, first: int, count: int, where: str) -> None:
    if not count:
        raise ConfigError(f"{where}.serve.devices: this machine has no GPU; leave it out here")
    if all(first <= number < count for number in serve.devices):
        return
    free = count - first
    example = list(range(first, first + min(serve.gpus, free)))
    remedy = f"write for example {example}, or leave it out" if example else "leave it out"
    raise ConfigError(
        f"{where}.serve.devices: {list(serve.devices)} must be GPUs of this machine's {count}, "
        f"counted from 0, and not the first {first}, on which it trains; {remedy}"
    )
