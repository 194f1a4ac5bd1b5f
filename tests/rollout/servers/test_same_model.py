"""A server of another model is refused before it is sent weights."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web

from rvpo.errors import ConfigError
from rvpo.rollout import ServersConfig
from rvpo.rollout.lora_config import LoraConfig
from rvpo.rollout.servers.command import Served, model_name
from rvpo.rollout.servers.http import Http, ServerError
from rvpo.rollout.servers.same_model import check_models, fitting, misfit
from rvpo.rollout.servers.settings import StartConfig
from rvpo.rollout.servers.version_label import RunLabel
from rvpo.rollout.servers.weights.fan_out import Patience
from rvpo.rollout.servers.weights.roster import Roster
from rvpo.runtime.port import free_port
from tests.rollout.servers.server import FakeServer


def served(path: Path | str) -> Served:
    return Served(path=str(path), dtype="bfloat16", trust_remote_code=False, seed=1)


@pytest.fixture
def model(tmp_path: Path) -> Served:
    (tmp_path / "config.json").write_text("{}")
    return served(tmp_path)


def test_the_same_model_with_room_enough_fits(model: Served) -> None:
    assert misfit({"id": model_name(model), "max_model_len": 512}, model, 512) == ""
    assert misfit({"id": model_name(model)}, model, 512) == ""


def test_another_model_does_not_fit(model: Served) -> None:
    words = misfit({"id": "tiny@0123456789ab", "max_model_len": 512}, model, 512)
    assert words.startswith(
        f"has the model tiny@0123456789ab, and model.path is {model_name(model)}"
    )


@pytest.mark.parametrize("name", ["org/model", "a name of one's own", "", "model@home"])
def test_a_name_that_somebody_chose_says_nothing(name: str, model: Served) -> None:
    assert misfit({"id": name, "max_model_len": 512}, model, 512) == ""
    assert misfit({"id": "tiny@0123456789ab"}, served("org/model"), 512) == ""


def test_a_context_that_is_too_short_does_not_fit(model: Served) -> None:
    words = misfit({"id": model_name(model), "max_model_len": 256}, model, 512)
    assert words.startswith("has a context of 256 tokens, and the run's prompts and completions")


def check(replies: Sequence[tuple[int, Any]], model: Served) -> list[ServerError]:
    """Look at servers that answer so, each on a path of its own."""
    http = Http()

    async def answer(request: web.Request) -> web.Response:
        status, body = replies[int(request.match_info["number"])]
        return web.json_response(body, status=status)

    async def look() -> list[ServerError]:
        app = web.Application()
        app.router.add_get("/{number}/v1/models", answer)
        runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
        await runner.setup()
        try:
            await web.TCPSite(runner, "127.0.0.1", 0).start()
            base = f"http://127.0.0.1:{runner.addresses[0][1]}"
            urls = [f"{base}/{number}" for number in range(len(replies))]
            return await check_models(http, urls, model, 512)
        finally:
            await runner.cleanup()

    with closing(http):
        return http.run(look())


def listed(name: str) -> tuple[int, Mapping[str, Any]]:
    adapter = {"id": "rvpo", "parent": name, "max_model_len": None}
    return 200, {"data": [{"id": name, "max_model_len": 512}, adapter]}


def test_servers_that_say_nothing_of_use_are_told_of(model: Served) -> None:
    unclear: list[tuple[int, Any]] = [
        (404, {}),
        (200, {"data": []}),
        (200, {"data": {}}),
        (200, {"data": [1]}),
        (200, {"data": [{"id": None}]}),
        (200, []),
        listed("org/model"),
    ]
    found = check([listed(model_name(model)), (500, {}), *unclear], model)
    assert [error.kind for error in found] == ["failed", *["refused"] * len(unclear)]
    assert "'org/model', which says nothing of its files" in found[-1].reason


def test_adapters_are_of_the_model_that_a_server_has(model: Served) -> None:
    adapted = replace(model, adapter=LoraConfig())
    check([listed(model_name(adapted))], adapted)
    for name in ("org/model", "home@here"):
        with pytest.raises(ConfigError, match=r"added to a server's own weights"):
            check([listed(name)], adapted)


def test_each_server_is_looked_at(model: Served) -> None:
    with pytest.raises(ConfigError, match=r"urls: http://127\.0\.0\.1:\d+/1 has the model other@"):
        check([listed(model_name(model)), listed("other@0123456789ab")], model)


@pytest.mark.parametrize("status", [401, 403])
def test_a_server_with_another_key_is_told_of_at_once(status: int, model: Served) -> None:
    with pytest.raises(ConfigError, match=r"asks for another key; give rollout\.engine\.key_var"):
        check([(status, {"error": "Unauthorized"})], model)


def test_the_first_look_refuses_and_waits_for_nobody(model: Served) -> None:
    said: list[str] = []
    gone = f"http://127.0.0.1:{free_port()}"
    with FakeServer(model=model_name(model)) as right, FakeServer(model="tiny@0123456789ab") as bad:
        config = ServersConfig(urls=(right.url, gone))
        config.check_running(model.path, None, 512, said.append)
        (line,) = said
        assert "servers that do not answer yet are waited for" in line
        assert f"{gone} cannot be reached (Connection refused)" in line
        assert right.url not in line
        with pytest.raises(ConfigError, match="has the model tiny@0123456789ab"):
            ServersConfig(urls=(gone, bad.url)).check_running(model.path, None, 512, said.append)
    ServersConfig(start=StartConfig()).check_running(model.path, None, 512, said.append)
    assert len(said) == 1


def test_a_run_says_that_it_waits_for_servers_that_it_does_not_start() -> None:
    assert ServersConfig(urls=("http://node3:8000",)).opening() == "waiting for servers"
    assert ServersConfig(start=StartConfig()).opening() == "starting servers"


def test_a_server_that_comes_later_as_another_is_left_out(model: Served) -> None:
    with (
        closing(Http()) as http,
        FakeServer(model=model_name(model)) as right,
        FakeServer(model=model_name(model)) as again,
        FakeServer() as silent,
    ):
        fits = fitting(http, model, 512)
        roster = Roster(http, Patience(), RunLabel.drawn(), in_flight=False, fits=fits)
        urls = [right.url, again.url, silent.url]
        assert [member.url for member in roster.present(urls)] == urls
        again.models = {"data": [{"id": "tiny@0123456789ab", "max_model_len": 512}]}
        assert [member.url for member in roster.present(urls)] == [right.url, silent.url]
        assert roster.losses[again.url].startswith("has the model tiny@0123456789ab")
