"""Worlds by rvpo's own protocol, which others write: what is wrong is told in one sentence."""

from __future__ import annotations

import pytest

from rvpo.environments import CustomConfig
from rvpo.errors import ConfigError
from tests.worlds import Nagging


def test_a_world_of_the_protocol_is_opened_with_its_arguments() -> None:
    world = CustomConfig(factory="tests.worlds:Nagging", arguments={"times": 5}).open()
    assert isinstance(world, Nagging)
    assert world.times == 5


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("Toolless", "makes a value of type Toolless, which has no tools; an environment has"),
        ("Undescribed", "has tools with a value of type function; write a list of descriptions"),
        ("Untold", r"does not tell its tools: KeyError: 'tools' \(worlds.py:\d+\)"),
    ],
)
def test_a_factory_that_makes_no_world_is_refused_in_one_sentence(name: str, reason: str) -> None:
    with pytest.raises(ConfigError, match=reason) as found:
        CustomConfig(factory=f"tests.worlds:{name}").open()
    assert str(found.value).startswith(f"environment.factory: tests.worlds:{name} ")
    assert "\n" not in str(found.value)
