"""What is wrong with the world that a run names is said before anything is loaded."""

from __future__ import annotations

from pathlib import Path
from typing import Any, get_args

import pytest

from rvpo.config.document import dump
from rvpo.config.run import dump_config, load_config
from rvpo.environments import READ_BY_REWARD, AnyEnvironment
from rvpo.errors import ConfigError
from rvpo.runtime.imports import import_function
from tests.configs import tiny_settings

MCP = {"name": "mcp", "url": "http://127.0.0.1:1/mcp"}
WORLDS: dict[str, dict[str, Any]] = {
    "tools": {"functions": ["my_tools:add"]},
    "python": {"factory": "my_worlds:Shop"},
    "custom": {"factory": "my_worlds:Shop"},
    "mcp": {"command": ["my-server"]},
    "verifiers": {"environment": "reverse-text"},
}


def written(folder: Path, environment: Any, function: str = "tests.toy:vowels") -> Path:
    file = folder / "run.yaml"
    rewards = {"scored": {"function": function}}
    file.write_text(
        dump(tiny_settings(Path("m"), folder / "run", rewards=rewards, environment=environment))
    )
    return file


def problem(folder: Path, environment: Any, function: str = "tests.toy:vowels") -> str:
    """The one sentence about settings."""
    with pytest.raises(ConfigError) as caught:
        load_config(written(folder, environment, function))
    _, sentence = str(caught.value).split("\n")
    return sentence.strip()


def test_every_kind_of_world_is_tried_here() -> None:
    kinds = get_args(get_args(AnyEnvironment)[0])
    assert [kind.model_fields["name"].default for kind in kinds] == list(WORLDS)


@pytest.mark.parametrize("nameless", [{}, {"max_turns": 3}, {"command": ["a"]}, {"name": None}])
def test_a_world_without_a_name_is_told_the_names_that_there_are(
    nameless: dict[str, Any], tmp_path: Path
) -> None:
    sentence = problem(tmp_path, nameless)
    assert sentence == (
        "environment.name: required and not given; choose from tools, python, custom, mcp, "
        "verifiers"
    )


@pytest.mark.parametrize(
    ("functions", "said"),
    [
        ([], "functions: must have at least 1 item, got []"),
        ("a:b", "functions: must be a list, got 'a:b'"),
        ([3], "functions[0]: must be module:function, or a table with it as function, got 3"),
        (["a:b", None], "functions[1]: must be module:function, or a table with it"),
        (["add"], "functions[0].function: must be module:function"),
        ([{"function": "add"}], "functions[0].function: must be module:function"),
        ([{"function": "a:b", "arguments": 3}], "functions[0].arguments: must be a table"),
    ],
)
def test_a_wrong_tool_is_told_in_one_sentence(functions: Any, said: str, tmp_path: Path) -> None:
    sentence = problem(tmp_path, {"name": "tools", "functions": functions})
    assert sentence.startswith(f"environment.{said}")


@pytest.mark.parametrize(("given", "said"), [({}, "neither"), ({**MCP, "command": ["a"]}, "both")])
def test_a_tool_server_has_a_command_or_a_url(
    given: dict[str, Any], said: str, tmp_path: Path
) -> None:
    sentence = problem(tmp_path, {**given, "name": "mcp"})
    assert sentence == (
        f"environment: needs either a command, which starts a server, or the url of one, got {said}"
    )


@pytest.mark.parametrize("world", WORLDS)
@pytest.mark.parametrize("function", READ_BY_REWARD)
def test_a_reward_of_other_worlds_is_refused_before_the_start(
    function: str, world: str, tmp_path: Path
) -> None:
    environment = {"name": world, **WORLDS[world]}
    if world in READ_BY_REWARD[function]:
        load_config(written(tmp_path, environment, function))
        return
    sentence = problem(tmp_path, environment, function)
    assert sentence.startswith(f"rewards.scored.function: {function} reads episodes of environment")
    assert f"and this one is {world}; set that, or take the reward out" in sentence


@pytest.mark.parametrize("function", READ_BY_REWARD)
def test_a_reward_of_worlds_is_refused_where_there_is_none(function: str, tmp_path: Path) -> None:
    assert "and there is no environment; set that" in problem(tmp_path, None, function)
    assert callable(import_function(function, "rewards"))


@pytest.mark.parametrize("name", ["Authorization", "X-Shop", "Cookie"])
def test_a_header_is_the_name_of_a_variable(name: str, tmp_path: Path) -> None:
    headers = {name: {"variable": "SHOP_TOKEN"}}
    config = load_config(written(tmp_path, {**MCP, "headers": headers}))
    stored = tmp_path / "stored.yaml"
    stored.write_text(dump_config(config))
    assert load_config(stored) == config


@pytest.mark.parametrize("value", ["SHOP_TOKEN", "Bearer abcdef0123", {"variable": "not a name"}])
@pytest.mark.parametrize("name", ["Authorization", "X-Shop"])
def test_a_header_that_is_no_variable_is_told_how_to_write_one(
    name: str, value: Any, tmp_path: Path
) -> None:
    sentence = problem(tmp_path, {**MCP, "headers": {name: value}})
    assert sentence.startswith(f"environment.headers.{name}: ")
    assert "{variable: NAME}" in sentence
    assert "abcdef0123" not in sentence


@pytest.mark.parametrize(
    ("environment", "sentence"),
    [
        ({"name": "mcp", "command": []}, "environment.command: must have at least 1 item, got []"),
        (
            {"name": "tools", "functions": []},
            "environment.functions: must have at least 1 item, got []",
        ),
    ],
)
def test_a_list_that_is_too_short_is_told_its_length(
    environment: dict[str, Any], sentence: str, tmp_path: Path
) -> None:
    assert problem(tmp_path, environment) == sentence
