"""What a plan says of the world that answers the policy."""

from __future__ import annotations

from pathlib import Path

from rvpo.plan.data import read_data
from tests.configs import tiny_config

TOOLS = {"functions": ["rvpo.data.errands:calculator", "rvpo.data.errands:look_up"]}


def test_prompts_show_the_tools_and_the_plan_says_what_an_episode_may_take(
    tiny_model: Path,
) -> None:
    data = read_data(
        tiny_config(tiny_model, environment={"name": "tools", **TOOLS, "max_turns": 3})
    )
    (found,) = [each for each in data.findings if each.part == "environment"]
    assert found.state == "ok"
    assert "the tools calculator, look_up; up to 3 turns" in found.found
    assert "8 episodes a step, at most 24 requests" in found.found
    named = [tool["function"]["name"] for tool in data.train[0].tools]
    assert named == ["calculator", "look_up"]


def test_an_environment_that_cannot_be_had_is_a_finding(tiny_model: Path) -> None:
    config = tiny_config(
        tiny_model, environment={"name": "tools", "functions": ["rvpo.data.errands:nothing"]}
    )
    (found,) = [each for each in read_data(config).findings if each.part == "environment"]
    assert found.state == "missing"
    assert "nothing" in found.found


def test_without_one_nothing_is_said(tiny_model: Path) -> None:
    data = read_data(tiny_config(tiny_model))
    assert all(each.part != "environment" for each in data.findings)
