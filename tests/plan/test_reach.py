"""Servers are asked whether they are there."""

from __future__ import annotations

from pathlib import Path

import pytest

from rvpo.config.run import RunConfig
from rvpo.plan.reach import server_findings
from rvpo.runtime.port import free_port
from tests.configs import tiny_config
from tests.rollout.servers.server import FakeServer


def run(*urls: str, **engine: object) -> RunConfig:
    settings = {"name": "servers", "urls": list(urls)} | engine
    return tiny_config(Path("unused"), rollout={"engine": settings})


def test_servers_that_answer_are_ready() -> None:
    with FakeServer() as one, FakeServer() as two:
        (found,) = server_findings(run(one.url, two.url), given=False)
        assert (found.state, found.found) == ("ok", "2 of 2 answer, vLLM 0.32.0")
        # One that is divided otherwise than the plan counts.
        (found,) = server_findings(run(one.url, tensor_parallel=2), given=False)
        assert (found.state, found.remedy) == ("note", "rollout.engine.tensor_parallel=1")
        assert not any(server.seen.calls for server in (one, two))


def test_fewer_servers_than_a_run_needs_are_missing() -> None:
    with FakeServer() as there, FakeServer() as ill:
        ill.healthy = False
        gone = f"http://127.0.0.1:{free_port()}"
        for least, given, state in [(1, False, "note"), (2, False, "missing"), (2, True, "note")]:
            (found,) = server_findings(run(there.url, ill.url, gone, least=least), given=given)
            assert found.state == state
            assert found.found.startswith("1 of 3 answer, vLLM 0.32.0; ")
            assert f"{ill.url} answered /health with 503" in found.found
            assert gone in found.found
            assert "rvpo serve" in found.remedy


def test_a_key_that_is_not_there_is_missing() -> None:
    config = run("http://127.0.0.1:1", key_variable="NO_SUCH_KEY_OF_SERVERS")
    (found,) = server_findings(config, given=False)
    assert found.state == "missing"
    assert "export NO_SUCH_KEY_OF_SERVERS=" in found.found


def test_other_engines_are_not_asked() -> None:
    assert server_findings(tiny_config(Path("unused")), given=False) == []
    started = run(start={"servers": 2})
    assert server_findings(started, given=False) == []


def test_servers_that_a_run_would_refuse_are_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KEY_OF_SERVERS", "wrong")
    with FakeServer(key="right") as guarded, FakeServer(model="x", context=64) as short:
        config = run(guarded.url, key_variable="KEY_OF_SERVERS")
        (found,) = server_findings(config, given=False)
        assert found.state == "missing"
        assert f"{guarded.url} asks for another key" in found.found
        (found,) = server_findings(run(short.url, max_context_tokens=128), given=False)
        assert found.state == "missing"
        assert "has a context of 64 tokens" in found.found
        assert server_findings(config, given=True)[0].state == "note"


@pytest.mark.parametrize("size", [0, -3, True, 1.5, "1", None, [1], float("inf")])
def test_a_number_of_gpus_that_is_none_is_no_server_of_a_run(size: object) -> None:
    with FakeServer() as server:
        server.world_size = size
        (found,) = server_findings(run(server.url), given=False)
    assert found.state == "missing"
    assert "is no vLLM server" in found.found
