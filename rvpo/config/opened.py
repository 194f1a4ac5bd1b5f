"""The environment of a run, opened: what it has is known from here on."""

from __future__ import annotations

from rvpo.config.rewards import FunctionRewardConfig
from rvpo.config.run import RunConfig
from rvpo.environments import OWN_REWARD, Environment
from rvpo.environments.python import PythonEnvironment
from rvpo.errors import ConfigError


def opened(config: RunConfig) -> Environment | None:
    """The environment of a run; None where a sample is one answer.

    Raises:
        ConfigError: it cannot be had, or a reward asks its objects for their own, which have none.
    """
    if config.environment is None:
        return None
    environment = config.environment.open()
    if isinstance(environment, PythonEnvironment) and not environment.has_reward:
        for name, reward in config.rewards.items():
            if isinstance(reward, FunctionRewardConfig) and reward.function == OWN_REWARD:
                raise ConfigError(
                    f"rewards.{name}.function: {OWN_REWARD} asks the objects that "
                    "environment.factory makes for their method get_reward, and they have none; "
                    "write one, or take the reward out"
                )
    return environment
