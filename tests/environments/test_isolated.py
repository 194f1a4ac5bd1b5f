"""Tools in processes of their own: what ends one of them ends no run."""

from __future__ import annotations

import os
from typing import Any

import pytest

from rvpo.environments import ToolFailed
from rvpo.environments.isolated import Isolated
from rvpo.environments.tools import FunctionTools
from tests.environments.test_tools import HOSTILE, TRL, answer, call, config, told, within
from tests.judge.processes import alive

DEADLY = "tests.environments.deadly_tools"


def isolated(*paths: str, **more: Any) -> FunctionTools:
    return config(*paths, isolated=True, **more).open()


def test_tools_are_shown_and_called_as_in_this_process_but_elsewhere() -> None:
    paths = [f"{TRL}:multiply", f"{TRL}:async_add", f"{DEADLY}:number_of_process"]
    tools = isolated(*paths)
    assert tools.tools == config(*paths).open().tools
    calls = [call("multiply", a=3, b=4), call("async_add", a=1, b=2)]
    product, total, *pids = told(tools, *calls, *[call("number_of_process")] * 2)
    assert (product, total) == ("12", "3")
    assert len(set(pids)) == 1
    assert pids[0] != str(os.getpid())
    assert not alive(int(pids[0]))


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("leaves_at_once", "exit status 3"),
        ("breaks_memory", "SIGSEGV"),
        ("ends_all_of_its_group", "SIGKILL"),
    ],
)
def test_a_tool_that_ends_its_process_fails_its_episode_and_the_next_call_works(
    name: str, reason: str
) -> None:
    tools = isolated(f"{DEADLY}:{name}", f"{HOSTILE}:optional")

    async def both() -> str:
        with pytest.raises(ToolFailed, match=f"{name} .*({reason})"):
            await answer(tools, call(name))
        return str((await answer(tools, call("optional", city="Rome"))).messages[0]["content"])

    assert within(tools, both()) == "Rome C 1"


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("leaves_python", "{'error': '3'}"),
        ("leaves_python_async", "{'error': '3'}"),
        ("cancels_itself", "{'error': 'CancelledError'}"),
        ("half_a_character", "a?b"),
        ("floods", "flooded"),
        ("forks", "forked"),
        ("forgets_to_await", "{'error': 'it returned a coroutine"),
    ],
)
def test_what_a_function_raises_or_returns_is_told_as_in_this_process(
    name: str, expected: str
) -> None:
    tools = isolated(f"{HOSTILE}:{name}", f"{HOSTILE}:optional")
    first, second = told(tools, call(name), call("optional", city="Rome"))
    assert first.startswith(expected)
    assert second == "Rome C 1"


def test_the_process_of_a_call_that_does_not_return_is_ended() -> None:
    functions = config(f"{DEADLY}:never_returns", f"{DEADLY}:number_of_process")
    processes = Isolated([each.model_dump() for each in functions.functions], seconds=1)
    endless, number = processes.tools(functions.imported())
    before = number.function()
    with pytest.raises(ToolFailed, match="never_returns did not return in time"):
        endless.function()
    assert not alive(int(before))
    assert number.function() != before
    processes.close()
