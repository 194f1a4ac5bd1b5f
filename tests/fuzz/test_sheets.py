"""No reply to a sheet moves a verdict to another criterion, and what each of them says is read.

`RVPO_FUZZ_SHEETS` sets how many are generated.
"""

from __future__ import annotations

import asyncio
import os
import random
from collections import Counter
from itertools import chain, islice
from typing import Any

from aiohttp import web

from rvpo.config.judge import EndpointConfig, JudgeConfig
from rvpo.judge.reply_object import Unreadable
from rvpo.judge.types import Answer, Job, Question
from rvpo.judge.verdicts import read_sheet
from rvpo.judge.worker.asker import Asker
from tests.fuzz.sheets import SheetSample, sample, samples
from tests.judge.server import FakeEndpoint, completion, criterion, is_met
from tests.judge.sheets import criteria

COUNT = int(os.environ.get("RVPO_FUZZ_SHEETS", "2000"))
CRITERIA = 6


def reading(given: SheetSample) -> dict[str, float | None]:
    questions = {label: Question("criterion", f"Holds of {label}.") for label in given.values}
    try:
        found = read_sheet(questions, given.text)
    except Unreadable:
        return dict.fromkeys(given.values)
    return {
        label: None if isinstance(each, Unreadable) else each[0] for label, each in found.items()
    }


def test_replies_to_sheets_are_read_as_what_they_mean_for_each_criterion() -> None:
    misread, seen = [], Counter[str]()
    for given in islice(samples(seed=1), COUNT):
        seen[given.damage] += 1
        found = reading(given)
        if found != given.values:
            misread.append((given, found))
    assert misread == []
    assert len(seen) == 14


def test_no_verdict_moves_to_another_criterion_on_its_way_through_a_worker() -> None:
    """And what a damaged reply leaves open is asked again until it is known."""
    draw = random.Random(2)

    def script(body: dict[str, Any]) -> web.Response | None:
        asked = criteria(body)
        if not asked:  # one alone, which the endpoint answers by its text
            return None
        truth = {label: is_met(text) for label, text in asked.items()}
        return web.json_response(completion(sample(draw, truth).text))

    with FakeEndpoint(script=script, keep_bodies=False) as endpoint:
        endpoints = (EndpointConfig(url=endpoint.url),)
        settings = JudgeConfig(
            model="judge", endpoints=endpoints, cache=None, criteria_per_call="all", attempts=9
        )

        async def run() -> list[Answer]:
            async with Asker(settings) as asker:
                answered = (asker.answer(job(number)) for number in range(max(1, COUNT // 50)))
                return list(chain.from_iterable(await asyncio.gather(*answered)))

        answers = asyncio.run(run())
    truth = [float(is_met(criterion(number))) for number in range(len(answers))]
    assert [answer.value for answer in answers] == truth
    usages = [answer.usage for answer in answers]
    assert sum(usage.requests for usage in usages) == len(endpoint.seen.arrivals)
    assert 0 < sum(usage.retries for usage in usages) < sum(usage.requests for usage in usages)


def job(number: int) -> Job:
    """A response with criteria of its own."""
    items = range(number * CRITERIA, (number + 1) * CRITERIA)
    return Job(
        conversation=(("user", "A question?"),),
        response=f"Answer {number}.",
        questions=tuple(Question("criterion", criterion(item)) for item in items),
    )
