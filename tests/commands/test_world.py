"""A world that cannot be had, or that has not what a reward asks of it, is refused at the start."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from pydantic import TypeAdapter

from rvpo.commands.world import check_own_rewards, check_world
from rvpo.config.rewards import RewardConfig
from rvpo.data.splits import SourcePrompts, Splits
from rvpo.environments import OWN_REWARD, PythonConfig
from rvpo.errors import ConfigError
from rvpo.rollout.encoder import Encoder
from tests import worlds
from tests.fakes import make_prompt

OF_TRL = "tests.environments.trl_examples:Counter"  # which has a get_reward
WITHOUT = "tests.environments.hostile_worlds:TakesAnything"


def rewards(**functions: str) -> dict[str, RewardConfig]:
    kind: TypeAdapter[Any] = TypeAdapter(RewardConfig)
    return {
        name: kind.validate_python({"function": function}) for name, function in functions.items()
    }


@pytest.mark.parametrize("factory", [OF_TRL, WITHOUT])
@pytest.mark.parametrize("function", [OWN_REWARD, "tests.toy:vowels"])
def test_a_reward_of_objects_that_have_none_is_refused(factory: str, function: str) -> None:
    world = PythonConfig(factory=factory).open()
    asked = rewards(brief="tests.toy:late", won=function)
    if (factory, function) != (WITHOUT, OWN_REWARD):
        check_own_rewards(asked, world)
        return
    with pytest.raises(ConfigError) as refused:
        check_own_rewards(asked, world)
    assert str(refused.value) == (
        f"rewards.won.function: {OWN_REWARD} asks the objects that environment.factory makes for "
        "their method get_reward, and they have none; write one, or take the reward out"
    )


def test_nothing_is_known_of_the_objects_of_other_worlds() -> None:
    for world in (None, worlds.Nagging()):
        check_own_rewards(rewards(won=OWN_REWARD), world)


class Mistaken(worlds.Nagging):
    """Takes no seed."""

    def session(self, prompt: Any) -> Any:  # type: ignore[override]
        return super().session(prompt, 0)


@pytest.mark.parametrize(
    ("world", "reason"),
    [
        (worlds.Unopened(), r"for prompt 'sum/0': KeyError: 'times' \(worlds.py:\d+\); mend its"),
        (Mistaken(), r"TypeError: .*takes 2 positional.* \(test_world.py:\d+\); mend its session"),
        (worlds.Sessionless(), "is a value of type NoneType, which has no begin; write one with"),
    ],
)
def test_a_world_that_opens_nothing_is_told_with_its_line(
    world: Any, reason: str, tiny_model: Path
) -> None:
    encoder = Encoder.from_model(str(tiny_model), trust_remote_code=False, max_context_tokens=None)
    part = SourcePrompts(setting="data.train", place="rows.jsonl", prompts=(make_prompt(),))
    prompts = Splits.of([part], [])
    with pytest.raises(ConfigError, match=reason) as refused:
        check_world(world, prompts, encoder, "some/model")
    assert "\n" not in str(refused.value)
