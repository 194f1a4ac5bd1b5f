"""Several judges of one run: each has workers, limits and verdicts of its own."""

from __future__ import annotations

import asyncio
import re
import time
from contextlib import ExitStack, closing
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web

from rvpo.config.filing import told_apart
from rvpo.config.judge import JudgeConfig
from rvpo.errors import ConfigError, RankError
from rvpo.judge.client.judges import Judges
from rvpo.judge.types import Job, Question
from rvpo.judge.worker.asker import Asker
from rvpo.runtime.ranks import Ranks
from tests.fakes import on_each_rank
from tests.judge.server import FakeEndpoint, criterion, is_met


class HeldEndpoint(FakeEndpoint):
    """Answers nothing before it, and all others, have as many calls in flight as they may have."""

    full = 1
    others: tuple[HeldEndpoint, ...] = ()

    async def _good(self, body: dict[str, Any]) -> web.StreamResponse:
        while any(each.seen.most_in_flight < each.full for each in (self, *self.others)):
            await asyncio.sleep(0.002)
        return await super()._good(body)


def judge(url: str, cache: Path | None = None, **limits: Any) -> JudgeConfig:
    return JudgeConfig.model_validate(
        {"model": "judge", "endpoints": [{"url": url, **limits}], "cache": cache}
    )


def job(*numbers: int) -> Job:
    return Job(
        conversation=(("user", "A question?"),),
        response="An answer.",
        questions=tuple(Question("criterion", criterion(number)) for number in numbers),
    )


def test_two_judges_keep_each_its_own_limits_at_once() -> None:
    """As their servers see it: one has at most 2 calls in flight, the other 6, at the same time;
    and one of them no more than 600 a minute while the other has no such limit."""
    with ExitStack() as stack:
        cheap, gold = (stack.enter_context(HeldEndpoint(keep_bodies=False)) for _ in range(2))
        cheap.full, gold.full = 2, 6
        cheap.others, gold.others = (gold,), (cheap,)
        configs = {
            "judge": judge(cheap.url, concurrency=2, requests_per_minute=600),
            "gold": judge(gold.url, concurrency=6),
        }
        judges = stack.enter_context(closing(Judges(configs, Ranks.alone())))
        judges.start()
        judges.connect()
        started = time.monotonic()
        asked = {name: judges[name].submit(job(*range(24))) for name in judges}
        answers = {name: future.result(60) for name, future in asked.items()}
    for name in configs:
        met = [answer.value == 1 for answer in answers[name]]
        assert met == [is_met(criterion(number)) for number in range(24)]
    assert (cheap.seen.most_in_flight, gold.seen.most_in_flight) == (2, 6)
    # 10 a second, after what one second allows at once.
    for number, arrived in enumerate(sorted(cheap.seen.arrivals)):
        assert arrived - started >= (number - 11) / 10
    assert len(cheap.seen.arrivals) == len(gold.seen.arrivals) == 24


def test_one_file_keeps_the_verdicts_of_two_models_of_one_name_apart(tmp_path: Path) -> None:
    cache = tmp_path / "cache.sqlite"

    async def ask(config: JudgeConfig) -> list[float | None]:
        async with Asker(config) as asker:
            return [answer.value for answer in await asker.answer(job(*range(6)))]

    with (
        FakeEndpoint(truth=lambda text: True) as lenient,
        FakeEndpoint(truth=lambda text: False) as strict,
    ):
        judges = told_apart({"cheap": judge(lenient.url, cache), "gold": judge(strict.url, cache)})
        for _ in range(2):
            found = {name: asyncio.run(ask(config)) for name, config in judges.items()}
            assert found == {"cheap": [1] * 6, "gold": [0] * 6}
    assert len(lenient.seen.arrivals) == len(strict.seen.arrivals) == 6


def test_a_judge_that_cannot_be_had_fails_every_rank_alike_and_is_named() -> None:
    unset = judge("https://localhost/v1", key_variable="RVPO_TEST_UNSET_KEY")
    configs = {"judge": unset, "gold": unset, "third": unset}

    def start(ranks: Ranks) -> None:
        with closing(Judges(configs, ranks)) as judges, ranks.together():
            judges.start()

    main, other = on_each_rank(start)
    assert isinstance(main, ConfigError)
    assert str(main).startswith("judge.endpoints[0].key_variable: RVPO_TEST_UNSET_KEY holds no API")
    assert isinstance(other, RankError)


def test_sentences_of_a_worker_name_the_section_of_its_judge(tmp_path: Path) -> None:
    not_a_file = judge("http://127.0.0.1:1/v1", tmp_path)
    others = {"judge": judge("http://127.0.0.1:1/v1"), "gold": not_a_file}
    with closing(Judges(others, Ranks.alone())) as judges:
        judges.start()
        with pytest.raises(
            Exception, match=re.escape("of judges.gold did not start: judges.gold.cache:")
        ):
            judges.connect()
