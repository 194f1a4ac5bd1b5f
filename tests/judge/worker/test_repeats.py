"""A repeat asks for another verdict, whatever the settings fix, and is remembered as one."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from rvpo.config.judge import JudgeConfig
from rvpo.judge.worker.request import Renderer
from tests.judge.server import FakeEndpoint
from tests.judge.worker.test_asker import ask, config, job

NOWHERE = "http://127.0.0.1:9/v1"


def sent(settings: JudgeConfig, repeat: int, resamples: int = 0) -> dict[str, Any]:
    renderer = Renderer(settings)
    asked = job(1, repeat=repeat)
    sheet = renderer.sheet(renderer.requests(asked))
    body = renderer.body(sheet, "judge", with_schema=False, resamples=resamples)
    found: dict[str, Any] = json.loads(body)
    return found


@given(st.integers(0, 10**6), st.integers(2, 6))
def test_no_two_calls_of_a_question_have_the_same_seed(seed: int, attempts: int) -> None:
    settings = config(NOWHERE, extra_body={"seed": seed}, attempts=attempts)
    seeds = [sent(settings, r, n)["seed"] for r in range(3) for n in range(attempts)]
    assert len(set(seeds)) == len(seeds)
    assert seeds[0] == seed


def test_a_repeat_is_sent_as_the_first_was_where_no_seed_is_fixed() -> None:
    for extra in ({}, {"seed": None}, {"top_p": 0.9}):
        settings = config(NOWHERE, temperature=0.7, extra_body=extra)
        assert sent(settings, 1) == sent(settings, 0)
    assert sent(config(NOWHERE), 1)["temperature"] == 0


def test_repeats_are_remembered_apart(tmp_path: Path) -> None:
    with FakeEndpoint() as endpoint:
        settings = config(endpoint.url, cache=tmp_path / "cache.sqlite")
        for _ in range(2):
            ask(settings, job(1, 2), job(1, 2, repeat=1))
    assert len(endpoint.seen.arrivals) == 4


def test_a_server_gives_the_same_each_time_only_at_temperature_0() -> None:
    assert config(NOWHERE).may_repeat_itself
    assert config(NOWHERE, temperature=0.7, extra_body={"temperature": 0}).may_repeat_itself
    assert not config(NOWHERE, temperature=0.7).may_repeat_itself
    assert not config(NOWHERE, extra_body={"temperature": None}).may_repeat_itself
