"""Settings of DeepSpeed, looked at by DeepSpeed itself before any model is loaded."""

from __future__ import annotations

import os
from typing import Final

import torch
from pydantic import ValidationError

from rvpo.config.run import RunConfig
from rvpo.errors import ConfigError
from rvpo.trainer.zero import deepspeed_settings

_WHERE: Final = "update.deepspeed"
_COMPILED: Final = ("zero_quantized_weights", "zero_quantized_gradients")
"""Settings whose kernels DeepSpeed has for CUDA only."""


def check_deepspeed(config: RunConfig, ranks: int, *, on_gpu: bool) -> None:
    """Refuse what DeepSpeed would refuse when the model is sharded.

    Raises:
        ConfigError: a value is none of those that there are, or a table has no such entry.
    """
    given = config.update.deepspeed
    if not given:
        return
    zero = given.get("zero_optimization", {})
    for name in _COMPILED:
        if zero.get(name) and not on_gpu:
            raise ConfigError(
                f"{_WHERE}.zero_optimization.{name}: DeepSpeed quantizes on GPUs alone, and this "
                "run has none; leave it out"
            )
    group = zero.get("zero_hpz_partition_size") or 1
    if ranks % min(group, ranks):
        raise ConfigError(
            f"{_WHERE}.zero_optimization.zero_hpz_partition_size: {ranks} ranks cannot be "
            f"divided into groups of {group}; write a divisor of {ranks}"
        )
    os.environ.setdefault("DS_ACCELERATOR", "cuda" if torch.cuda.is_available() else "cpu")
    from deepspeed.runtime.config import DeepSpeedConfig, DeepSpeedConfigError

    try:
        DeepSpeedConfig(deepspeed_settings(config.update, config.model.precision))
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        place = ".".join(map(str, first["loc"]))
        raise ConfigError(f"{_WHERE}: DeepSpeed refuses {place}: {first['msg']}") from error
    except (DeepSpeedConfigError, ValueError, TypeError, AssertionError) as error:
        raise ConfigError(f"{_WHERE}: DeepSpeed refuses it: {error}") from error
