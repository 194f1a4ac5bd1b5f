"""Rollout engines: each one file, each its own section of the settings.

A new one is a file with a subclass of `EngineConfig` that has a `name`, and its class in
`AnyEngine` below.
"""

from __future__ import annotations

from rvpo.rollout.engine_config import EngineConfig, EngineInputs
from rvpo.rollout.servers.settings import ServersConfig
from rvpo.rollout.transformers_engine import TransformersConfig
from rvpo.rollout.vllm.settings import VllmConfig

AnyEngine = VllmConfig | TransformersConfig | ServersConfig
"""The choices of `rollout.engine`."""

__all__ = [
    "AnyEngine",
    "EngineConfig",
    "EngineInputs",
    "ServersConfig",
    "TransformersConfig",
    "VllmConfig",
]
