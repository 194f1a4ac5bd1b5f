"""Questions over HTTP: an answer, or one sentence about why there is none, without the key."""

from __future__ import annotations

import threading
from typing import Any

import pytest
from aiohttp import web

from rvpo.errors import EngineError
from rvpo.rollout.servers.http import Http, ServerError
from tests.rollout.servers.server import FakeServer

KEY = "a-key-that-nobody-must-see"


def failure(http: Http, url: str, route: str = "/health", timeout_s: float = 3600.0) -> ServerError:
    with pytest.raises(ServerError) as failed:
        http.run(http.ask("GET", url, route, timeout_s=timeout_s))
    return failed.value


def asked(server: FakeServer, http: Http) -> Any:
    body = {"token_ids": [1], "sampling_params": {"seed": 0, "max_tokens": 1}}
    return http.run(
        http.ask("POST", server.url, "/inference/v1/generate", json=body, timeout_s=3600.0)
    )


def test_a_server_that_is_not_there_is_lost() -> None:
    http = Http()
    with FakeServer() as server:
        assert http.run(http.ask("GET", server.url, "/weight_info", timeout_s=3600.0)) == {
            "weight_version": "default"
        }
        assert http.run(http.ask("GET", server.url, "/health", timeout_s=3600.0)) is None
    lost = failure(http, server.url)
    assert lost.kind == "lost"
    assert str(lost).startswith(f"{server.url}: ")
    assert failure(http, "http://no-such-machine.invalid:8000").kind == "lost"
    http.close()


@pytest.mark.parametrize(
    ("status", "headers", "kind", "wait_s"),
    [
        (400, {}, "refused", None),
        (401, {}, "refused", None),
        (302, {"Location": "http://elsewhere.invalid/"}, "refused", None),
        (408, {}, "failed", None),
        (500, {}, "failed", None),
        (503, {}, "failed", None),
        (503, {"Retry-After": "3"}, "busy", 3.0),
        (429, {"Retry-After": "0.5"}, "busy", 0.5),
        (429, {"Retry-After": "Wed, 21 Oct 2026 07:28:00 GMT"}, "busy", None),
        (429, {}, "busy", None),
    ],
)
def test_a_status_says_what_to_do_next(
    status: int, headers: dict[str, str], kind: str, wait_s: float | None
) -> None:
    def answer(body: dict[str, Any]) -> web.Response:
        return web.Response(status=status, headers=headers, text=f"no\n  {KEY} is bad")

    http = Http(KEY)
    with FakeServer(answer=answer) as server, pytest.raises(ServerError) as failed:
        asked(server, http)
    http.close()
    assert (failed.value.kind, failed.value.wait_s) == (kind, wait_s)
    words = f"answered /inference/v1/generate with {status} (no [key] is bad)"
    assert failed.value.reason == words


@pytest.mark.parametrize("text", [f"{{{KEY}", "[" * 200_000, "9" * 5000])
def test_an_answer_that_is_no_json_has_failed(text: str) -> None:
    http = Http(KEY)
    with (
        FakeServer(answer=lambda body: web.Response(text=text)) as server,
        pytest.raises(ServerError, match="with what is no JSON") as failed,
    ):
        asked(server, http)
    http.close()
    assert failed.value.kind == "failed"


def test_a_server_that_says_nothing_is_late() -> None:
    http = Http()
    with FakeServer() as server:
        server.held = True
        with pytest.raises(ServerError, match="did not answer /inference/v1/generate within 0 s"):
            http.run(
                http.ask("POST", server.url, "/inference/v1/generate", json={}, timeout_s=0.01)
            )
    http.close()


def test_after_closing_there_is_no_thread_and_no_answer() -> None:
    before = threading.active_count()
    http = Http()
    with FakeServer() as server:
        http.run(http.ask("GET", server.url, "/health", timeout_s=3600.0))
        assert http.is_open
        http.close()
        http.close()
        assert not http.is_open
        with pytest.raises(EngineError, match="closed"):
            http.run(http.ask("GET", server.url, "/health", timeout_s=3600.0))
    assert threading.active_count() == before
