"""A server of the SDK itself, over stdin and stdout and over HTTP."""

from __future__ import annotations

import ast
import asyncio
import json
import subprocess
import sys
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import psutil
import pytest
from pydantic import ValidationError

from rvpo.environments import McpConfig, ToolFailed, WorldReply
from rvpo.environments.mcp import McpTools
from rvpo.errors import ConfigError
from rvpo.runtime.port import free_port
from rvpo.types import Message
from tests.environments import mcp_server
from tests.fakes import make_prompt

SERVER = (sys.executable, str(mcp_server.__file__))
PROMPT = make_prompt()


def calling(name: str, /, **arguments: Any) -> Message:
    call = json.dumps({"name": name, "arguments": arguments})
    return {"role": "assistant", "content": f"<tool_call>{call}</tool_call>"}


def told(reply: WorldReply) -> list[str]:
    return [message["content"] for message in reply.messages]


def during(config: McpConfig, work: Callable[[McpTools], Awaitable[None]]) -> McpTools:
    """What a run does: the tools are listed, then episodes go on in a loop of their own."""
    tools = config.open()

    async def run() -> None:
        try:
            await work(tools)
        finally:
            await tools.close()

    asyncio.run(run())
    return tools


def servers() -> list[psutil.Process]:
    found = psutil.Process().children(recursive=True)
    alive = []
    for process in found:
        with suppress(psutil.NoSuchProcess):  # it has ended since, or nobody has read its end
            alive += [process] if SERVER[1] in process.cmdline() else []
    return alive


def test_the_tools_of_a_server_are_shown_and_called() -> None:
    async def work(tools: McpTools) -> None:
        assert servers() == []  # that which listed them has ended
        session = tools.session(PROMPT, 0)
        assert await session.begin() == ()
        assert await session.answer({"role": "assistant", "content": "Four."}) == WorldReply()
        assert servers() == []  # an episode without a call starts none
        reply = await session.answer(calling("add", a=1, b=2))
        assert (told(reply), reply.calls, reply.failures) == (["3"], 1, ())
        assert reply.messages[0] == {"role": "tool", "name": "add", "content": "3"}
        assert reply.said
        assert reply.said["tool_calls"][0]["function"]["name"] == "add"
        assert len(servers()) == 1
        await session.close()
        assert servers() == []

    tools = during(McpConfig(command=SERVER), work)
    shown = tools.tools[0]["function"]
    assert (shown["name"], shown["description"]) == ("add", "Add two numbers")
    assert set(shown["parameters"]["properties"]) == {"a", "b"}


def test_an_error_is_told_to_the_policy_and_the_episode_goes_on() -> None:
    async def work(tools: McpTools) -> None:
        session = tools.session(PROMPT, 0)
        for call, reason in (
            (calling("fail", reason="because"), "fail: an error"),
            (calling("add", a="one", b=2), "add: an error"),
            (calling("subtract", a=1, b=2), "no such tool"),
            ({"role": "assistant", "content": "<tool_call>add(1, 2)"}, "cannot be read"),
        ):
            reply = await session.answer(call)
            assert list(ast.literal_eval(told(reply)[0])) == ["error"]
            assert (reply.calls, reply.failures) == (1, (reason,))
        assert told(await session.answer(calling("add", a=1, b=2))) == ["3"]
        await session.close()

    during(McpConfig(command=SERVER), work)


@pytest.mark.parametrize(("shared", "kept"), [(False, "b"), (True, "a, b")])
def test_only_a_shared_session_tells_an_episode_of_another(shared: bool, kept: str) -> None:
    async def work(tools: McpTools) -> None:
        first, second = tools.session(PROMPT, 0), tools.session(PROMPT, 1)
        assert told(await first.answer(calling("note", text="a"))) == ["a"]
        assert told(await second.answer(calling("note", text="b"))) == [kept]
        await first.close()
        assert told(await second.answer(calling("add", a=1, b=1))) == ["2"]

    during(McpConfig(command=SERVER, shared=shared), work)
    assert servers() == []


@pytest.mark.parametrize("shared", [False, True])
def test_a_server_that_dies_fails_its_episode_alone(shared: bool) -> None:
    async def work(tools: McpTools) -> None:
        first, second = tools.session(PROMPT, 0), tools.session(PROMPT, 1)
        with pytest.raises(ToolFailed, match="die: the server failed"):
            await first.answer(calling("die"))
        await first.close()
        assert told(await second.answer(calling("add", a=1, b=2))) == ["3"]
        await second.close()

    during(McpConfig(command=SERVER, shared=shared), work)


def test_a_call_that_hangs_has_a_deadline_and_the_next_episode_another_server() -> None:
    async def work(tools: McpTools) -> None:
        first, second = tools.session(PROMPT, 0), tools.session(PROMPT, 1)
        assert told(await first.answer(calling("add", a=1, b=2))) == ["3"]
        tools.seconds = 1.0
        with pytest.raises(ToolFailed, match=r"hang did not return in 1 s"):
            await first.answer(calling("hang"))
        tools.seconds = 60.0
        assert told(await second.answer(calling("add", a=1, b=2))) == ["3"]

    during(McpConfig(command=SERVER, shared=True, seconds=60), work)
    assert servers() == []


OWNER = f"""
import asyncio, sys
from rvpo.environments import McpConfig
from tests.environments.test_mcp import PROMPT, calling

async def main(tools):
    session = tools.session(PROMPT, 0)
    await session.answer(calling("add", a=1, b=2))
    print("ready", flush=True)
    await session.answer(calling("hang"))

asyncio.run(main(McpConfig(command={SERVER!r}).open()))
"""


def test_a_server_whose_tool_hangs_ends_with_a_run_that_is_killed() -> None:
    with subprocess.Popen([sys.executable, "-c", OWNER], stdout=subprocess.PIPE) as owner:
        assert owner.stdout is not None
        assert owner.stdout.readline() == b"ready\n"
        (server,) = servers()
        time.sleep(0.2)  # for the call that hangs
        owner.kill()
    assert psutil.wait_procs([server], timeout=10)[1] == []


def test_what_a_server_writes_goes_to_the_log(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    async def work(tools: McpTools) -> None:
        session = tools.session(PROMPT, 0)
        with pytest.raises(ToolFailed):
            await session.answer(calling("die"))
        await session.close()

    log = tmp_path / "servers.txt"
    log.write_text("before\n")
    during(McpConfig(command=SERVER, log=log), work)
    assert capfd.readouterr() == ("", "")
    assert log.read_text().startswith("before\n")
    assert "the server dies\n" in log.read_text()


@pytest.mark.parametrize(
    ("command", "seconds", "sentence"),
    [
        (("no-such-program",), 60, r"no-such-program: the server did not start: .*No such file"),
        (
            (sys.executable, "-c", "import sys; sys.exit('no key for the shop')"),
            60,
            "the server did not start: .*the last that it wrote: no key for the shop; see that",
        ),
        (
            (sys.executable, "-c", "import time; time.sleep(60)"),
            1,
            "did not list its tools in 1 s; see that it runs, or raise environment.seconds",
        ),
        (
            (sys.executable, "-c", "print('hello', flush=True); input(); input()"),
            3,
            "did not list its tools in 3 s",
        ),
    ],
    ids=["missing", "ends", "hangs", "other language"],
)
def test_a_server_that_does_not_start_is_told_in_a_sentence(
    command: tuple[str, ...], seconds: float, sentence: str, capfd: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(ConfigError, match=sentence) as caught:
        McpConfig(command=command, seconds=seconds).open()
    assert str(caught.value).startswith("environment: the MCP server ")
    assert "\n" not in str(caught.value)
    assert capfd.readouterr() == ("", "")


def test_a_server_is_given_the_variables_that_are_named_alone(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("SHOP_KEY", "key")
    monkeypatch.setenv("OTHER_KEY", "other")

    async def work(tools: McpTools) -> None:
        session = tools.session(PROMPT, 0)
        assert told(await session.answer(calling("variable", name="SHOP_KEY"))) == ["key"]
        assert told(await session.answer(calling("variable", name="OTHER_KEY"))) == [""]
        await session.close()

    during(McpConfig(command=SERVER, variables=("SHOP_KEY",)), work)
    monkeypatch.delenv("SHOP_KEY")
    with pytest.raises(ConfigError, match="no environment variable SHOP_KEY; write `export"):
        McpConfig(command=SERVER, variables=("SHOP_KEY",)).open()


@pytest.mark.parametrize(
    "settings",
    [
        {},
        {"command": ("server",), "url": "http://127.0.0.1:1/mcp"},
        {"command": ()},
        {"url": "127.0.0.1:1"},
        {"url": "http://127.0.0.1:1/mcp", "variables": ("KEY",)},
        {"command": ("server",), "headers": {"Authorization": {"variable": "KEY"}}},
        {"url": "http://127.0.0.1:1/mcp", "headers": {"X-Shop": "KEY"}},
    ],
)
def test_settings_name_one_server(settings: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        McpConfig(**settings)


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    port = free_port()
    started = subprocess.Popen([*SERVER, "http", str(port)], stderr=subprocess.DEVNULL)
    try:
        yield f"http://127.0.0.1:{port}/mcp"
    finally:
        started.kill()
        started.wait()


def opened(config: McpConfig) -> McpConfig:
    """The settings, once the server of the test listens."""
    for _ in range(120):
        try:
            asyncio.run(config.open().close())
        except ConfigError:
            time.sleep(0.5)
        else:
            break
    return config


def test_a_server_is_sent_headers_with_what_the_environment_holds(
    url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def work(tools: McpTools) -> None:
        reply = await tools.session(PROMPT, 0).answer(calling("header", name="Authorization"))
        assert told(reply) == ["Bearer of a key"]

    config = opened(McpConfig(url=url))
    config = config.model_copy(update={"headers": {"Authorization": {"variable": "SHOP_TOKEN"}}})
    monkeypatch.setenv("SHOP_TOKEN", "Bearer of a key")
    during(config, work)
    monkeypatch.delenv("SHOP_TOKEN")
    with pytest.raises(
        ConfigError, match=r"headers\.Authorization: the environment has no variable"
    ):
        config.open()


@pytest.mark.parametrize("shared", [False, True])
def test_a_server_is_reached_over_http(url: str, shared: bool) -> None:
    async def work(tools: McpTools) -> None:
        sessions = [tools.session(PROMPT, n) for n in range(8)]
        replies = await asyncio.gather(
            *(each.answer(calling("add", a=n, b=n)) for n, each in enumerate(sessions))
        )
        assert [told(reply) for reply in replies] == [[str(2 * n)] for n in range(8)]
        tools.seconds = 1.0
        with pytest.raises(ToolFailed, match="hang did not return"):
            await sessions[0].answer(calling("hang"))
        tools.seconds = 60.0
        assert told(await sessions[1].answer(calling("add", a=1, b=2))) == ["3"]

    during(opened(McpConfig(url=url, shared=shared, seconds=60)), work)


def test_an_address_that_nobody_listens_at_is_told_in_a_sentence() -> None:
    address = f"http://127.0.0.1:{free_port()}/mcp"
    with pytest.raises(ConfigError, match=f"the MCP server {address}: the server did not start"):
        McpConfig(url=address).open()
