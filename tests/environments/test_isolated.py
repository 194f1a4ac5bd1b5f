"""Tools in processes of their own: what ends one of them ends no run, and spoils no other call."""

from __future__ import annotations

import asyncio
import datetime
import os
import re
import resource
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from rvpo.environments import ToolFailed
from rvpo.environments.isolated import IsolatedCaller, Origin, ToolProcesses
from rvpo.environments.tools import FunctionTools
from rvpo.errors import ConfigError
from tests.environments.test_tools import HOSTILE, TRL, answer, call, config, told, within
from tests.judge.processes import ROOT, alive, wait_until

DEADLY = "tests.environments.deadly_tools"
ENDING = {
    "leaves_at_once": "ended its process (exit status 3)",
    "leaves_in_silence": "ended its process (exit status 0)",
    "breaks_memory": "ended its process (SIGSEGV)",
    "ends_by_a_signal_without_a_name": "ended its process (signal 40)",
    "ends_all_of_its_group": "ended its process (SIGKILL)",
    "leaves_from_a_thread": "ended its process (exit status 4)",
    "kills_its_parent": ": its process was lost, or something in it wrote to the run",
}
ENDLESS = ["never_returns", "holds_python", "does_not_listen", "stops_itself", "awaits_for_ever"]
WRITING = [
    *("writes_into_all", "writes_half_a_line", "writes_nesting", "answers_for_another"),
    *("floods_all", "closes_all", "opens_in_its_place"),
]
SAME = {
    HOSTILE: [
        *("leaves_python", "leaves_python_async", "cancels_itself", "half_a_character", "floods"),
        *("forks", "forgets_to_await", "interrupts", "interrupts_async", "raises_odd", "no_words"),
        *("no_words_async", "unreadable", "parts", "huge", "times_out", "ends_iteration"),
    ],
    DEADLY: ["takes_all_memory", "says_too_much"],
}
CUT = 100
SECONDS = 1.5


def isolated(*paths: Any, **more: Any) -> FunctionTools:
    return config(*paths, isolated=True, **more).open()


@pytest.fixture(scope="module")
def all_of_them() -> Iterator[FunctionTools]:
    deadly = [*ENDING, *ENDLESS, *WRITING, *SAME[DEADLY], "number_of_process", "fails_at_length"]
    paths = [f"{DEADLY}:{name}" for name in [*deadly, "fits", "remembers"]]
    paths += [f"{HOSTILE}:{name}" for name in [*SAME[HOSTILE], "is_down"]]
    tools = isolated(*paths, seconds=SECONDS, result_characters=CUT)
    yield tools
    asyncio.run(tools.close())


@pytest.fixture(scope="module")
def unhurried() -> Iterator[FunctionTools]:
    tools = isolated(f"{DEADLY}:fits", f"{DEADLY}:leaves_others", at_once=2, seconds=30)
    yield tools
    asyncio.run(tools.close())


def result(tools: FunctionTools, name: str, **arguments: Any) -> str:
    reply = asyncio.run(answer(tools, call(name, **arguments)))
    return str(reply.messages[0]["content"])


def failure(tools: FunctionTools, name: str) -> str:
    with pytest.raises(ToolFailed) as found:
        result(tools, name)
    return str(found.value)


def is_written(file: Path) -> bool:
    return file.exists() and file.read_text().endswith("\n")


def processes_of(tools: FunctionTools) -> ToolProcesses:
    assert isinstance(tools._caller, IsolatedCaller)
    return tools._caller.processes


def origin_of(tools: FunctionTools) -> Origin:
    return processes_of(tools)._origin


def test_tools_are_shown_and_called_as_in_this_process_but_elsewhere() -> None:
    paths = [f"{TRL}:multiply", f"{TRL}:async_add", f"{DEADLY}:number_of_process"]
    tools = isolated(*paths)
    assert tools.tools == config(*paths).open().tools
    calls = [call("multiply", a=3, b=4), call("async_add", a=1, b=2)]
    product, total, *pids = told(tools, *calls, *[call("number_of_process")] * 2)
    assert (product, total) == ("12", "3")
    assert len({*pids, str(os.getpid())}) == 3
    assert not any(alive(int(pid)) for pid in pids)
    assert origin_of(tools).is_lost()


# ── Kinds of death ──────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("name", ENDING)
def test_a_tool_that_ends_its_process_fails_its_call_alone(
    all_of_them: FunctionTools, name: str
) -> None:
    assert failure(all_of_them, name) in (f"{name} {ENDING[name]}", f"{name}{ENDING[name]}")
    assert int(result(all_of_them, "number_of_process"))


@pytest.mark.parametrize("name", ENDLESS)
def test_a_tool_that_does_not_return_is_killed_and_the_reason_has_the_number_of_the_settings(
    all_of_them: FunctionTools, name: str
) -> None:
    assert failure(all_of_them, name).startswith(f"{name} did not return in {SECONDS:g} s")


@pytest.mark.parametrize("name", WRITING)
def test_a_tool_that_gets_at_its_connection_fails_its_call_and_no_other(
    all_of_them: FunctionTools, name: str
) -> None:
    async def both() -> tuple[Any, Any]:
        spoiled = answer(all_of_them, call(name))
        other = answer(all_of_them, call("half_a_character"))
        return tuple(await asyncio.gather(spoiled, other, return_exceptions=True))

    spoiled, other = asyncio.run(both())
    assert isinstance(spoiled, ToolFailed)
    assert str(spoiled).startswith(name)
    assert other.messages[0]["content"] == "a?b"


@pytest.mark.parametrize(
    ("module", "name"), [(module, name) for module, names in SAME.items() for name in names]
)
def test_what_a_function_raises_or_returns_is_told_as_in_this_process(
    all_of_them: FunctionTools, module: str, name: str
) -> None:
    tools = config(f"{module}:{name}", result_characters=CUT).open()
    reply = within(tools, answer(tools, call(name)))
    assert asyncio.run(answer(all_of_them, call(name))) == reply


def test_a_tool_that_could_not_do_its_work_says_so_at_any_length(
    all_of_them: FunctionTools,
) -> None:
    assert failure(all_of_them, "is_down") == "the search engine is down"
    assert len(failure(all_of_them, "fails_at_length")) < CUT + 100


@pytest.mark.parametrize("ending", ["returns", "raises"])
def test_what_a_tool_started_ends_with_its_call(unhurried: FunctionTools, ending: str) -> None:
    pids = list(map(int, re.findall(r"\d+", result(unhurried, "leaves_others", ending=ending))))
    assert len(pids) == 4
    assert not any(map(alive, pids))


def test_a_call_that_nobody_waits_for_any_more_ends(
    unhurried: FunctionTools, tmp_path: Path
) -> None:
    file = tmp_path / "told"

    async def cancelled() -> None:
        task = asyncio.ensure_future(answer(unhurried, call("leaves_others", ending=str(file))))
        await asyncio.to_thread(wait_until, lambda: is_written(file))
        task.cancel()
        await asyncio.wait({task})

    asyncio.run(cancelled())
    assert not any(map(alive, map(int, file.read_text().split())))


def test_a_call_finds_what_importing_left_and_keeps_nothing(all_of_them: FunctionTools) -> None:
    assert [result(all_of_them, "remembers", word=word) for word in "ab"] == ["['a']", "['b']"]


# ── Starts ──────────────────────────────────────────────────────────────────────────────────────


def test_the_start_of_a_process_is_none_of_its_tools_time(all_of_them: FunctionTools) -> None:
    origin = origin_of(all_of_them)._child.pid

    async def slow() -> int:
        os.kill(origin, signal.SIGSTOP)
        task = asyncio.ensure_future(answer(all_of_them, *[call("fits")] * 2))
        await asyncio.sleep(2 * SECONDS)
        os.kill(origin, signal.SIGCONT)
        return len((await task).messages)

    assert asyncio.run(slow()) == 2


def test_a_process_that_does_not_start_in_time_is_the_reason(all_of_them: FunctionTools) -> None:
    processes = processes_of(all_of_them)
    usual, processes._start_s = processes._start_s, 0.2
    origin = origin_of(all_of_them)._child.pid
    os.kill(origin, signal.SIGSTOP)
    assert failure(all_of_them, "fits") == "fits: its process did not start in 0.2 s"
    os.kill(origin, signal.SIGCONT)
    processes._start_s = usual
    assert result(all_of_them, "fits")


@pytest.mark.parametrize("whose", ["this one", "the origin"])
def test_a_process_that_cannot_be_had_fails_the_call(
    all_of_them: FunctionTools, whose: str
) -> None:
    pid = os.getpid() if whose == "this one" else origin_of(all_of_them)._child.pid

    async def without_room() -> str:
        usual = resource.prlimit(pid, resource.RLIMIT_NOFILE)
        free = os.dup(0)
        os.close(free)
        most = free if whose == "this one" else 3
        resource.prlimit(pid, resource.RLIMIT_NOFILE, (most, usual[1]))
        try:
            with pytest.raises(ToolFailed) as found:
                await answer(all_of_them, call("number_of_process"))
        finally:
            resource.prlimit(pid, resource.RLIMIT_NOFILE, usual)
        return str(found.value)

    assert asyncio.run(without_room()) in (
        "number_of_process got no process: [Errno 24] Too many open files",
        "number_of_process got no process: it was lost",
    )
    assert result(all_of_them, "number_of_process")


def test_another_process_takes_the_place_of_one_that_was_lost(all_of_them: FunctionTools) -> None:
    lost = origin_of(all_of_them)
    os.kill(lost._child.pid, signal.SIGKILL)
    wait_until(lost.is_lost)
    assert result(all_of_them, "fits")
    assert origin_of(all_of_them) is not lost


def test_no_more_processes_than_worlds_are_at_work(unhurried: FunctionTools) -> None:
    async def many() -> list[str]:
        calls = [answer(unhurried, call("fits", seconds=0.1)) for _ in range(6)]
        return [reply.messages[0]["content"] for reply in await asyncio.gather(*calls)]

    spans = [tuple(map(float, text.split())) for text in asyncio.run(many())]
    assert max(sum(a <= begun < b for a, b in spans) for begun, _ in spans) <= 2


def test_nothing_outlives_a_run_that_is_killed(tmp_path: Path) -> None:
    file = tmp_path / "told"
    program = (
        "import asyncio; from rvpo.environments import ToolsConfig\n"
        "from rvpo.environments.caller import TimeLeft\n"
        "from rvpo.environments.isolated import ToolProcesses\n"
        f"settings = ToolsConfig(functions=['{DEADLY}:leaves_others'], isolated=True)\n"
        "processes = ToolProcesses(settings, ['leaves_others'])\n"
        f"call = processes.result('leaves_others', {{'ending': {str(file)!r}}}, TimeLeft(60))\n"
        "asyncio.run(call)\n"
    )
    run = subprocess.Popen([sys.executable, "-c", program], cwd=ROOT)
    wait_until(lambda: is_written(file))
    pids = list(map(int, file.read_text().split()))
    assert all(map(alive, pids))
    run.kill()
    run.wait()
    wait_until(lambda: not any(map(alive, pids)))


# ── Settings ────────────────────────────────────────────────────────────────────────────────────


def test_arguments_of_the_settings_are_those_of_the_function_whatever_they_are() -> None:
    given = [datetime.date(2024, 1, 2), b"\x80", {1: [None]}, {"a"}, float("nan"), (1, 2)]
    function = {"function": f"{DEADLY}:takes_settings", "arguments": {"given": given}}
    assert told(isolated(function), call("takes_settings")) == [repr(given)]


def test_an_argument_that_cannot_be_handed_on_is_refused_in_one_sentence() -> None:
    given = {"function": f"{DEADLY}:takes_settings", "arguments": {"given": lambda: 1}}
    with pytest.raises(ConfigError, match=r"environment.isolated: .*cannot be handed") as found:
        isolated(given)
    assert "\n" not in str(found.value)


def test_a_module_that_cannot_be_imported_again_is_refused_in_one_sentence() -> None:
    with pytest.raises(ConfigError, match=r"functions\[0\]: importing .* fails: .*not here"):
        isolated("tests.environments.imported_once:anything")


def test_objects_of_episodes_are_not_isolated() -> None:
    from pydantic import TypeAdapter, ValidationError

    from rvpo.environments import AnyEnvironment

    given = {"name": "python", "factory": f"{TRL}:Counter", "isolated": True}
    with pytest.raises(ValidationError, match="isolated"):
        TypeAdapter(AnyEnvironment).validate_python(given)
