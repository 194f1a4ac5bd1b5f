"""A server of another model is refused before it is sent weights."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web

from rvpo.errors import ConfigError
from rvpo.rollout.servers.command import Served, model_name
from rvpo.rollout.servers.http import Http
from rvpo.rollout.servers.same_model import check_models, misfit


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


def check(replies: Sequence[tuple[int, Any]], model: Served) -> None:
    """Look at servers that answer so, each on a path of its own."""
    http = Http()

    async def answer(request: web.Request) -> web.Response:
        status, body = replies[int(request.match_info["number"])]
        return web.json_response(body, status=status)

    async def look() -> None:
        app = web.Application()
        app.router.add_get("/{number}/v1/models", answer)
        runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
        await runner.setup()
        try:
            await web.TCPSite(runner, "127.0.0.1", 0).start()
            base = f"http://127.0.0.1:{runner.addresses[0][1]}"
            urls = [f"{base}/{number}" for number in range(len(replies))]
            await check_models(http, urls, model, 512)
        finally:
            await runner.cleanup()

    with closing(http):
        http.run(look())


def listed(name: str) -> tuple[int, Mapping[str, Any]]:
    adapter = {"id": "rvpo", "parent": name, "max_model_len": None}
    return 200, {"data": [{"id": name, "max_model_len": 512}, adapter]}


def test_servers_that_say_nothing_of_use_are_passed_over(model: Served) -> None:
    check([listed(model_name(model)), (500, {}), (404, {}), (200, {"data": []}), (200, [])], model)


def test_each_server_is_looked_at(model: Served) -> None:
    with pytest.raises(ConfigError, match=r"urls: http://127\.0\.0\.1:\d+/1 has the model other@"):
        check([listed(model_name(model)), listed("other@0123456789ab")], model)


def test_a_server_with_another_key_is_told_of_at_once(model: Served) -> None:
    with pytest.raises(ConfigError, match=r"asks for another key; give rollout\.engine\.key_var"):
        check([(401, {"error": "Unauthorized"})], model)
