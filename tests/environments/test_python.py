"""Objects as worlds: one for each episode, written for TRL's `environment_factory`."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Coroutine
from typing import Any, TypeVar

import pytest
from pydantic import TypeAdapter

from rvpo.environments import AnyEnvironment, PythonConfig, ToolFailed
from rvpo.environments.python import PythonEnvironment
from rvpo.errors import ConfigError, DataError
from tests.environments import hostile_worlds
from tests.fakes import make_prompt

T = TypeVar("T")
TRL = "tests.environments.trl_examples"
HOSTILE = "tests.environments.hostile_worlds"
KEY = "sk-0123456789abcdef"


def call(name: str, **arguments: Any) -> dict[str, Any]:
    text = json.dumps({"name": name, "arguments": arguments})
    return {"role": "assistant", "content": f"<tool_call>\n{text}\n</tool_call>"}


def opened(factory: str, **more: Any) -> PythonEnvironment:
    found = TypeAdapter(AnyEnvironment).validate_python(
        {"name": "python", "factory": factory, **more}
    )
    assert isinstance(found, PythonConfig)
    return found.open()


def within(world: PythonEnvironment, work: Coroutine[Any, Any, T]) -> T:
    async def whole() -> T:
        try:
            return await work
        finally:
            await world.close()

    return asyncio.run(whole())


def test_an_environment_written_for_trl_runs_as_it_is() -> None:
    world = opened(f"{TRL}:Counter")
    session = world.session(make_prompt(target=3), 0)

    async def episode() -> list[str]:
        begun = await session.begin()
        replies = [await session.answer(call("increment", step=step)) for step in (1, 2, -1)]
        return [str(begun), *(reply.messages[0]["content"] for reply in replies)]

    assert [tool["function"]["name"] for tool in world.tools] == ["increment"]
    assert within(world, episode()) == [
        " Stop at 3.",
        "1",
        "3",
        "{'error': 'a step is not negative'}",
    ]
    assert session.state.get_reward() == 1.0
    assert session.state.row == {"prompt": [{"role": "user", "content": "What is 1 + 2?"}]}


def test_each_episode_has_an_object_of_its_own() -> None:
    world = opened(f"{TRL}:Counter")
    sessions = [world.session(make_prompt(target=3), seed) for seed in range(3)]

    async def episodes() -> None:
        await asyncio.gather(*(session.begin() for session in sessions))
        await sessions[1].answer(call("increment", step=2))

    within(world, episodes())
    assert [session.state.count for session in sessions] == [0, 2, 0]


def test_functions_stand_beside_the_methods() -> None:
    world = opened(f"{TRL}:Counter", functions=[f"{TRL}:multiply"])
    session = world.session(make_prompt(target=3), 0)

    async def episode() -> str:
        await session.begin()
        reply = await session.answer(call("multiply", a=2, b=3))
        return str(reply.messages[0]["content"])

    assert [tool["function"]["name"] for tool in world.tools] == ["multiply", "increment"]
    assert within(world, episode()) == "6"


@pytest.mark.parametrize(
    ("name", "given"),
    [
        ("TakesAll", {"prompt": "What is 1 + 2?", "answer": 3, "hint": [1]}),
        ("TakesHint", {"hint": [1]}),
        ("TakesSeed", {"seed": 7}),
        ("TakesNothing", {}),
        ("AwaitsReset", {"answer": 3}),
    ],
)
def test_reset_is_given_what_it_takes_as_copies_of_its_own(
    name: str, given: dict[str, Any]
) -> None:
    world = opened(f"{HOSTILE}:{name}")
    prompt = make_prompt(answer=3, hint=[1])
    if name == "TakesAll":
        object.__setattr__(prompt, "text", "What is 1 + 2?")
    session = world.session(prompt, 7)
    within(world, session.begin())
    assert session.state.given == given
    if "hint" in given:
        session.state.given["hint"].append(2)
        assert prompt.columns["hint"] == [1]


@pytest.mark.parametrize(
    ("name", "told"),
    [("TellsNothing", ""), ("TellsParts", "one two")],
)
def test_an_observation_is_text_or_nothing(name: str, told: str) -> None:
    world = opened(f"{HOSTILE}:{name}")
    assert within(world, world.session(make_prompt(), 0).begin()) == told


@pytest.mark.parametrize(
    ("name", "kind", "reason"),
    [
        ("TellsNumber", RuntimeError, "TellsNumber.reset failed: TypeError: it returned a value"),
        ("TellsImage", ToolFailed, "part of type 'image'"),
        ("FailsReset", RuntimeError, r"FailsReset.reset failed: ValueError: no board"),
        ("LeavesReset", RuntimeError, r"LeavesReset.reset failed: SystemExit: 2"),
        ("HangsReset", ToolFailed, "HangsReset.reset did not return in time"),
        ("FailsLater", RuntimeError, r"FailsLater failed: ConnectionError: second"),
    ],
)
def test_a_world_that_does_not_begin_fails_its_episode_with_the_reason(
    name: str, kind: type[Exception], reason: str
) -> None:
    hostile_worlds.RELEASE.clear()
    hostile_worlds.FailsLater.made = 0
    world = opened(f"{HOSTILE}:{name}", seconds=0.2)
    with pytest.raises(kind, match=reason):
        within(world, world.session(make_prompt(), 0).begin())
    hostile_worlds.RELEASE.set()


def test_a_column_that_reset_needs_is_asked_for() -> None:
    world = opened(f"{TRL}:Counter")
    with pytest.raises(
        DataError, match=r"reset needs a column 'target', .* did you mean 'targets'"
    ):
        world.session(make_prompt(targets=3), 0)
    asyncio.run(world.close())


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("NoReset", "makes a value of type NoReset, which has no method reset; write one"),
        ("TakesPlace", r"TakesPlace\.reset takes 'hint' by its position alone.* take the / out"),
        ("MadeByPlace", "MadeByPlace takes 'size' by its position alone"),
        ("NoTool", "has no public method beside reset"),
        ("NoDocstring", "move cannot be shown to a policy"),
        ("FailsAtOnce", r"FailsAtOnce failed: OSError: no server \(hostile_worlds.py:\d+\)"),
        ("Leaves", "failed: SystemExit: 4"),
        ("Abstract", r"Abstract failed: TypeError: .*abstract.* \(hostile_worlds.py:\d+\)"),
        ("nothing", "makes a value of type NoneType"),
    ],
)
def test_a_factory_that_makes_no_world_is_refused_in_one_sentence(name: str, reason: str) -> None:
    with pytest.raises(ConfigError, match=reason) as found:
        opened(f"{HOSTILE}:{name}")
    assert str(found.value).startswith("environment.factory: ")
    assert "\n" not in str(found.value)


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        ({}, f"environment.arguments: {HOSTILE}:NeedsSize needs size; write "
         "environment.arguments.size=..."),
        ({"sise": 3}, f"environment.arguments.sise: {HOSTILE}:NeedsSize has no such argument; did "
         "you mean 'size'?"),
        ({"size": 3, "x": 1}, f"environment.arguments.x: {HOSTILE}:NeedsSize has no such argument; "
         "it takes size"),
    ],
)  # fmt: skip
@pytest.mark.parametrize("world", ["python", "custom"])
def test_arguments_that_a_factory_does_not_take_are_told_with_those_it_takes(
    world: str, arguments: dict[str, Any], sentence: str
) -> None:
    settings = {"name": world, "factory": f"{HOSTILE}:NeedsSize", "arguments": arguments}
    with pytest.raises(ConfigError) as found:
        TypeAdapter(AnyEnvironment).validate_python(settings).open()
    assert str(found.value) == sentence


def test_a_factory_that_takes_any_argument_is_given_all() -> None:
    world = opened(f"{HOSTILE}:TakesAnything", arguments={"a": 1, "b": [2]})
    session = world.session(make_prompt(), 0)
    within(world, session.begin())
    assert session.state.settings == {"a": 1, "b": [2]}


def test_arguments_of_the_settings_reach_the_factory_and_keys_stay_there(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("GAME_KEY", KEY)
    given = {"key": {"variable": "GAME_KEY"}, "board": [0]}
    world = opened(f"{HOSTILE}:KeepsKey", arguments=given)
    first, second = (world.session(make_prompt(), seed) for seed in range(2))

    async def episodes() -> str:
        await first.begin()
        first.state.board.append(1)
        await second.begin()
        reply = await first.answer(call("tell"))
        return str(reply.messages[0]["content"])

    assert within(world, episodes()) == "[key]"
    assert (first.state.key, second.state.board) == (KEY, [0])


def test_two_tools_of_one_name_are_refused_across_functions_and_methods() -> None:
    with pytest.raises(ConfigError, match="two tools are called increment"):
        opened(f"{TRL}:Counter", functions=[f"{HOSTILE}:increment"])
