"""A world that has not what a reward asks of it is refused when it is opened."""

from __future__ import annotations

from pathlib import Path

import pytest

from rvpo.config.opened import opened
from rvpo.config.run import RunConfig
from rvpo.environments import OWN_REWARD
from rvpo.errors import ConfigError
from tests.configs import tiny_config

OF_TRL = "tests.environments.trl_examples:Counter"  # which has a get_reward
WITHOUT = "tests.environments.hostile_worlds:TakesAnything"


def config(world: dict[str, str] | None, function: str) -> RunConfig:
    rewards = {"brief": {"function": "tests.toy:late"}, "won": {"function": function}}
    return tiny_config(Path("m"), rewards=rewards, environment=world)


@pytest.mark.parametrize("factory", [OF_TRL, WITHOUT])
@pytest.mark.parametrize("function", [OWN_REWARD, "tests.toy:vowels"])
def test_a_reward_of_objects_that_have_none_is_refused(factory: str, function: str) -> None:
    asked = config({"name": "python", "factory": factory}, function)
    if (factory, function) != (WITHOUT, OWN_REWARD):
        assert opened(asked) is not None
        return
    with pytest.raises(ConfigError) as refused:
        opened(asked)
    assert str(refused.value) == (
        f"rewards.won.function: {OWN_REWARD} asks the objects that environment.factory makes for "
        "their method get_reward, and they have none; write one, or take the reward out"
    )


def test_nothing_is_known_of_the_objects_of_other_worlds() -> None:
    assert opened(config({"name": "custom", "factory": "tests.worlds:Nagging"}, OWN_REWARD))
    assert opened(config(None, "tests.toy:vowels")) is None
