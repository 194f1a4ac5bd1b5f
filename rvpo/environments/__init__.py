"""Environments: each one file, each its own section of the settings.

A new one is a file with a subclass of `EnvironmentConfig` that has a `name`, and its class in
`AnyEnvironment` below.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Final

from pydantic import Field

from rvpo.environments.custom import CustomConfig
from rvpo.environments.environment import Environment, Session, ToolFailed, WorldReply
from rvpo.environments.environment_config import EnvironmentConfig
from rvpo.environments.mcp import McpConfig
from rvpo.environments.python import PythonConfig
from rvpo.environments.tools import ToolsConfig
from rvpo.environments.verifiers import VerifiersConfig

AnyEnvironment = Annotated[
    ToolsConfig | PythonConfig | CustomConfig | McpConfig | VerifiersConfig,
    Field(discriminator="name"),
]
"""The choices of `environment`."""

OWN_REWARD: Final = "rvpo.rewards.environment:get_reward"
"""The reward function that asks the worlds' objects for their own."""
READ_BY_REWARD: Final[Mapping[str, tuple[str, ...]]] = {
    "rvpo.environments.verifiers:part": ("verifiers",),
    OWN_REWARD: ("python", "custom"),
}
"""Names of the environments whose episodes leave behind what a reward function reads."""

__all__ = [
    "OWN_REWARD",
    "READ_BY_REWARD",
    "AnyEnvironment",
    "CustomConfig",
    "Environment",
    "EnvironmentConfig",
    "McpConfig",
    "PythonConfig",
    "Session",
    "ToolFailed",
    "ToolsConfig",
    "VerifiersConfig",
    "WorldReply",
]
