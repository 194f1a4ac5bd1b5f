"""Environments of the package verifiers, unchanged.

https://github.com/PrimeIntellect-ai/verifiers, its version 1 (`verifiers.v1`): a taskset gives the
tasks, an `Env` plays each of them with its agents, and the task's rewards score what they did. Here
the policy is the agent, and its turns are sampled by this run's engine.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final, Literal

from pydantic import Field

from rvpo.environments.environment_config import EnvironmentConfig
from rvpo.errors import ConfigError, DataError, RewardError
from rvpo.runtime.extras import MODULES, installed
from rvpo.types import RewardScore

if TYPE_CHECKING:
    from rvpo.environments.verifiers_world import VerifiersWorld

TASK: Final = "verifiers_task"
"""Column of the data with a task, as JSON."""
_BARE: Final = ("verifiers", "renderers")
INSTALL_VERIFIERS: Final = (
    "pip install 'rvpo[verifiers]' && pip install --no-deps 'verifiers==0.4.*' 'renderers==0.1.*'"
)
"""Commands that install verifiers beside vLLM. By itself it asks for one version of mcp and for an
older openai, and renderers for openai-harmony, whose files are those of vLLM's oss-harmony."""


class VerifiersConfig(EnvironmentConfig):
    """An environment of verifiers with one agent, which is the policy.

    Its tasks are the data: `{function: rvpo.environments.verifiers:rows}`. Its rewards are rewards:
    `{function: rvpo.environments.verifiers:part, arguments: {name: ...}}`, one for each.
    """

    name: Literal["verifiers"] = "verifiers"
    environment: str
    """Name of the installed package of the environment, as reverse-text."""
    arguments: dict[str, Any] = Field(default_factory=dict)
    """Settings of the environment, as the section `[env]` of verifiers has them: {taskset: {split:
    train}}."""

    def open(self) -> VerifiersWorld:
        """The environment, after a look at how its first task begins.

        Raises:
            ConfigError: verifiers or the environment is not installed, the settings do not fit it,
                it has several agents or a judge of its own, or an episode does not begin.
        """
        return _world(self, "environment")


def rows(
    environment: str,
    arguments: Mapping[str, Any] | None = None,
    count: int | None = None,
    skip: int = 0,
) -> list[dict[str, Any]]:
    """Rows of data, one for each task of an environment.

    A task that leaves the first word to a simulated user is begun for it.

    Args:
        environment: see `VerifiersConfig`.
        arguments: see `VerifiersConfig`.
        count: tasks that are taken; all of them if left out.
        skip: tasks that are passed over.

    Raises:
        ConfigError: see `VerifiersConfig.open`.
        DataError: the tasks have no end, and nothing says how many to take.
    """
    config = VerifiersConfig(environment=environment, arguments=dict(arguments or {}))
    world = _world(config, "data", looks=False)
    if count is None and not world.is_finite:
        raise DataError(
            f"the tasks of {environment} have no end; write count: N among the arguments of "
            "rvpo.environments.verifiers:rows"
        )
    return world.rows(count, skip)


def part(environments: Sequence[Any], name: str, **columns: Any) -> list[RewardScore]:
    """Reward that an environment of verifiers gives: one of its rewards, or of its metrics, by name
    and without its weight.

    Args:
        environments: the `EpisodeOutcome` of each episode.

    Raises:
        RewardError: no episode has it, or they are of another environment.
    """
    if not all(hasattr(each, "weights") for each in environments):  # of another environment
        raise RewardError(
            "this reward is a part of those of environment.name=verifiers, and the environment is "
            "another one"
        )
    scored = [each for each in environments if not each.problem]
    known = {key: weight for each in scored for key, weight in each.weights.items()}
    if scored and name not in known:
        there = ", ".join(f"{key} (weight {weight:g})" for key, weight in known.items())
        raise RewardError(
            f"the environment of verifiers gives no '{name}'; it gives {there or 'nothing'}"
        )
    return [each.score(name) for each in environments]


def _world(config: VerifiersConfig, where: str, looks: bool = True) -> VerifiersWorld:
    lacking = [each for each in (*_BARE, *MODULES["verifiers"]) if not installed(each)]
    if lacking:
        raise ConfigError(
            f"{where}: environments of verifiers need {', '.join(lacking)}, not installed; write: "
            + INSTALL_VERIFIERS
        )
    from rvpo.environments.verifiers_world import VerifiersWorld

    world = VerifiersWorld(config, where)
    if looks:
        world.look()
    return world
