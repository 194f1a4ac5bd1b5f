"""Servers that say nothing: a slow one is waited for, a silent one is not."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from rvpo.errors import EngineError
from rvpo.rollout.encoder import Encoder
from rvpo.rollout.servers.http import Http, ServerError
from rvpo.rollout.servers.roll_call import roll_call
from rvpo.runtime.pulse import ALIVE_TIMES
from rvpo.runtime.seed import derived_seed
from tests.rollout.servers.engines import asking, is_right, make_prompts
from tests.rollout.servers.server import FakeServer

GENERATE = "/inference/v1/generate"


class LateHttp(Http):
    """Tells of questions to one server that it did not answer in time, without waiting.

    Args:
        routes: those that it does not answer.
    """

    def __init__(self, late: str, *routes: str) -> None:
        super().__init__()
        self._late = late
        self._routes = routes
        self.times: set[tuple[str, float]] = set()
        """The routes that were asked, each with the seconds that it had."""

    async def fetch(
        self,
        method: str,
        url: str,
        route: str,
        *,
        json: Any = None,
        params: dict[str, str] | None = None,
        timeout_s: float,
    ) -> bytes:
        self.times.add((route, timeout_s))
        if url == self._late and route in self._routes:
            raise ServerError(url, f"did not answer {route} within {timeout_s:.0f} s", "late")
        return await super().fetch(
            method, url, route, json=json, params=params, timeout_s=timeout_s
        )


@pytest.fixture(scope="module")
def encoder(tiny_model: Path) -> Encoder:
    read = Encoder.from_model(str(tiny_model), trust_remote_code=False, max_context_tokens=None)
    return replace(read, max_context_tokens=4096)


def test_a_request_may_take_as_long_as_a_rank_that_lives(encoder: Encoder) -> None:
    """Another one is asked for the sample then, and its own server for others: it is there."""
    said: list[str] = []
    with FakeServer() as slow, FakeServer() as other:
        http = LateHttp(slow.url, GENERATE)
        with asking(encoder, [slow, other], http=http, patience_s=600.0, say=said.append) as engine:
            rollout = engine.generate(make_prompts(2), 2, seed=0)
    assert (GENERATE, ALIVE_TIMES * 600.0) in http.times
    assert ("/weight_info", 600.0) in http.times
    assert said == []
    assert other.seen.answered == 4
    assert all(
        is_right(sample, derived_seed(0, row), encoder)
        for row, sample in enumerate(rollout.samples)
    )


def test_a_server_that_says_nothing_at_all_is_left_out(encoder: Encoder) -> None:
    said: list[str] = []
    with FakeServer() as silent, FakeServer() as other:
        http = LateHttp(silent.url, GENERATE, "/weight_info", "/health")
        servers = [silent, other]
        with asking(encoder, servers, http=http, patience_s=600.0, say=said.append) as engine:
            engine.generate(make_prompts(2), 2, seed=0)
            with (
                asking(encoder, [silent], http=http, patience_s=600.0) as alone,
                pytest.raises(EngineError) as ended,
            ):
                alone.generate(make_prompts(2), 2, seed=0)
    (told,) = said
    assert told.startswith(f"server {silent.url} did not answer /weight_info within 600 s: it is")
    assert f"{silent.url} did not answer /weight_info within 600 s" in str(ended.value)


def test_servers_are_waited_for_at_the_start() -> None:
    said: list[str] = []
    http = Http()
    with FakeServer() as there, FakeServer() as gone:
        gone.kill()
        both = [there.url, gone.url]
        http.run(roll_call(http, [there.url], 1, patience_s=0.0))
        http.run(roll_call(http, both, 1, patience_s=0.0, say=said.append, straggle_s=0.0))
        with pytest.raises(EngineError, match="1 of 2 servers answered within 0 minutes") as few:
            http.run(roll_call(http, both, 2, patience_s=0.0))
    http.close()
    (told,) = said
    assert told.startswith(f"going on with 1 of 2 servers: {gone.url} ")
    assert "start them with `rvpo serve`" in str(few.value)
