"""Several criteria in one call, each with an answer of its own."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Sequence
from itertools import chain
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web

from rvpo.config.judge import EndpointConfig, JudgeConfig
from rvpo.judge.types import Answer, Job, Question
from rvpo.judge.worker.asker import Asker
from rvpo.judge.worker.request import Renderer
from tests.judge.server import (
    INPUT_TOKENS,
    OUTPUT_TOKENS,
    FakeEndpoint,
    Script,
    completion,
    criterion,
    is_met,
)
from tests.judge.sheets import criteria, verdicts
from tests.judge.worker.asking import ask, job

Body = dict[str, Any]
ALL = "all"


def config(*urls: str, endpoint: Body | None = None, **settings: Any) -> JudgeConfig:
    endpoints = tuple(EndpointConfig(url=url, **(endpoint or {})) for url in urls)
    known = {"model": "judge", "endpoints": endpoints, "cache": None, "criteria_per_call": ALL}
    return JudgeConfig(**{**known, **settings})


def truth(*numbers: int) -> list[float]:
    return [float(is_met(criterion(number))) for number in numbers]


def sizes(endpoint: FakeEndpoint) -> list[int]:
    """Number of criteria of each call, in the order of arrival."""
    return [len(criteria(body)) or 1 for body in endpoint.seen.bodies]


def says(change: Callable[[dict[str, Any]], Any], times: int = 99) -> Script:
    """Changes the verdicts in so many replies to sheets; what it returns is sent as JSON."""
    left = [times]

    def script(body: Body) -> web.Response | None:
        if not criteria(body) or not left[0]:
            return None
        left[0] -= 1
        changed = change(json.loads(verdicts(body, is_met)))
        return web.json_response(completion(json.dumps(changed)))

    return script


def test_criteria_of_a_response_are_asked_in_one_call_and_answered_each_for_itself() -> None:
    with FakeEndpoint() as endpoint:
        prices = {"input_price": 2.0, "output_price": 10.0}
        answers = ask(config(endpoint.url, endpoint=prices), job(*range(7)))
    assert [answer.value for answer in answers] == truth(*range(7))
    assert {answer.reason for answer in answers} == {"It says so."}
    assert sizes(endpoint) == [7]
    usages = [answer.usage for answer in answers]
    assert sum(usage.requests for usage in usages) == 1
    assert sum(usage.retries for usage in usages) == 0
    assert sum(usage.input_tokens for usage in usages) == INPUT_TOKENS
    assert sum(usage.output_tokens for usage in usages) == OUTPUT_TOKENS
    cost = (2 * INPUT_TOKENS + 10 * OUTPUT_TOKENS) / 1e6
    assert sum(usage.cost for usage in usages) == pytest.approx(cost)
    assert all(usage.latency_s > 0 and not usage.cached for usage in usages)


def test_a_call_asks_no_more_criteria_than_it_may() -> None:
    with FakeEndpoint() as endpoint:
        answers = ask(config(endpoint.url, criteria_per_call=4), job(*range(10)))
    assert [answer.value for answer in answers] == truth(*range(10))
    assert sorted(sizes(endpoint)) == [3, 3, 4]


def test_the_reply_may_be_as_long_as_its_verdicts_and_is_held_to_their_schema() -> None:
    with FakeEndpoint() as endpoint:
        ask(config(endpoint.url, max_tokens=100), job(1, 2, 3))
        ask(config(endpoint.url, extra_body={"max_completion_tokens": 512}), job(1, 2, 3))
    small, body = endpoint.seen.bodies
    assert small["max_tokens"] == 300
    assert body["max_completion_tokens"] == body["max_tokens"] == 512 + 2 * 160
    form = body["response_format"]["json_schema"]
    assert form["strict"] is True
    assert form["schema"]["required"] == list(form["schema"]["properties"]) == list(criteria(body))
    assert form["schema"]["additionalProperties"] is False
    for each in form["schema"]["properties"].values():
        assert list(each["properties"]) == ["reason", "met"]


@pytest.mark.parametrize(
    "change",
    [
        lambda said: dict(list(said.items())[1:]),
        lambda said: {**said, next(iter(said)): {"reason": "", "met": "maybe"}},
        lambda said: {**said, next(iter(said)): {"reason": "", "met": True, "unmet": True}},
        lambda said: {**said, next(iter(said)): {"reason": ""}},
        lambda said: {**dict(list(said.items())[1:]), "BCDFG": {"reason": "", "met": True}},
    ],
)
def test_a_criterion_without_a_verdict_is_asked_again_alone(
    change: Callable[[dict[str, Any]], Any],
) -> None:
    with FakeEndpoint(script=says(change, times=1)) as endpoint:
        answers = ask(config(endpoint.url), job(*range(6)))
    assert [answer.value for answer in answers] == truth(*range(6))
    assert sizes(endpoint) == [6, 1]
    usages = [answer.usage for answer in answers]
    assert sum(usage.requests for usage in usages) == 2
    assert sum(usage.retries for usage in usages) == sum(usage.parse_failures for usage in usages)
    assert sum(usage.input_tokens for usage in usages) == 2 * INPUT_TOKENS
    assert [len(usage.attempt_failures) for usage in usages].count(1) == 1


def test_a_criterion_named_twice_is_asked_again_and_has_neither_verdict() -> None:
    def script(body: Body) -> web.Response | None:
        if not (asked := criteria(body)):
            return None
        label = next(iter(asked))
        lie = json.dumps({label: {"reason": "", "met": not is_met(asked[label])}})
        text = f"{verdicts(body, is_met)[:-1]}, {lie[1:]}"
        return web.json_response(completion(text))

    with FakeEndpoint(script=script) as endpoint:
        answers = ask(config(endpoint.url), job(*range(4)))
    assert [answer.value for answer in answers] == truth(*range(4))
    assert sizes(endpoint) == [4, 1]
    failures = [answer.usage.attempt_failures for answer in answers]
    assert failures.count({}) == 3
    assert {"criterion named twice": 1} in failures


def test_a_reply_that_says_nothing_as_a_whole_is_asked_for_in_halves() -> None:
    with FakeEndpoint(script=says(lambda said: list(said.values()))) as endpoint:
        answers = ask(config(endpoint.url), job(*range(7)))
    assert [answer.value for answer in answers] == truth(*range(7))
    assert sizes(endpoint)[0] == 7
    assert sorted(sizes(endpoint)) == [1] * 7 + [2, 2, 3, 7]
    usages = [answer.usage for answer in answers]
    assert sum(usage.requests for usage in usages) == 11
    assert sum(usage.retries for usage in usages) == 10
    assert sum(usage.parse_failures for usage in usages) == 4
    assert sum(usage.attempt_failures["words beside the verdict"] for usage in usages
               if usage.attempt_failures) == 4  # fmt: skip


def test_attempts_of_one_criterion_are_bounded_and_the_others_keep_their_verdicts() -> None:
    def script(body: Body) -> web.Response | None:
        asked = criteria(body)
        if not asked:
            return web.json_response(completion("I cannot tell."))
        said = json.loads(verdicts(body, is_met))
        kept = {label: said[label] for label, text in asked.items() if text != criterion(3)}
        return web.json_response(completion(json.dumps(kept)))

    with FakeEndpoint(script=script) as endpoint:
        answers = ask(config(endpoint.url, attempts=3), job(*range(6)))
    failed = answers.pop(3)
    assert [answer.value for answer in answers] == truth(0, 1, 2, 4, 5)
    assert (failed.value, failed.failure) == (None, "no verdict")
    assert failed.usage.attempt_failures == {"criterion left out": 1, "no verdict": 2}
    assert sizes(endpoint) == [6, 1, 1]

    with FakeEndpoint(script=script) as endpoint:
        answers = ask(config(endpoint.url, attempts=1), job(*range(6)))
    assert [answer.failure for answer in answers].count("criterion left out") == 1
    assert sizes(endpoint) == [6]


def test_a_criterion_that_gateways_refuse_fails_alone() -> None:
    def script(body: Body) -> web.Response | None:
        refused = criterion(2) in body["messages"][-1]["content"]
        return (
            web.json_response({"error": {"message": "Blocked."}}, status=400) if refused else None
        )

    with FakeEndpoint(script=script) as endpoint:
        answers = ask(config(endpoint.url), job(*range(6)))
    failed = answers.pop(2)
    assert (failed.failure, failed.detail) == ("http 400", "Blocked.")
    assert [answer.value for answer in answers] == truth(0, 1, 3, 4, 5)


def test_a_bad_minute_is_waited_out_with_the_same_sheet() -> None:
    down = [web.Response(status=503)]
    with FakeEndpoint(script=lambda body: down.pop() if down else None) as endpoint:
        answers = ask(config(endpoint.url), job(*range(4)))
    assert [answer.value for answer in answers] == truth(*range(4))
    assert sizes(endpoint) == [4, 4]
    assert sum(answer.usage.attempt_failures.get("http 503", 0) for answer in answers) == 1


def test_what_is_known_of_a_sheet_is_not_asked_again(tmp_path: Path) -> None:
    cache = tmp_path / "cache.sqlite"
    with FakeEndpoint() as endpoint:
        settings = config(endpoint.url, cache=cache)
        ask(settings, job(1, 2, 3))
        wider = ask(settings, job(1, 2, 3, 4, 5))
        again = ask(settings, job(5, 3, 1))
    assert sizes(endpoint) == [3, 2]
    assert [answer.value for answer in wider] == truth(1, 2, 3, 4, 5)
    assert [answer.usage.cached for answer in wider] == [True] * 3 + [False] * 2
    assert [answer.value for answer in again] == truth(5, 3, 1)


def test_what_failed_of_a_sheet_is_not_remembered_and_the_rest_is(tmp_path: Path) -> None:
    cache = tmp_path / "cache.sqlite"
    left_out = says(lambda said: dict(list(said.items())[1:]))
    with FakeEndpoint(script=left_out) as endpoint:
        settings = config(endpoint.url, cache=cache, attempts=1)
        once = ask(settings, job(*range(5)))
        again = ask(settings, job(*range(5)))
    assert [answer.value for answer in once].count(None) == 1
    assert [answer.value for answer in again] == truth(*range(5))
    assert sizes(endpoint) == [5, 1]


def test_a_criterion_being_asked_for_one_job_is_not_asked_for_another() -> None:
    with FakeEndpoint(latency_s=0.1) as endpoint:
        answers = ask(config(endpoint.url), job(1, 2, 3), job(2, 3, 4, 5), job(1, 1, 5))
    assert [answer.value for answer in answers] == truth(1, 2, 3, 2, 3, 4, 5, 1, 1, 5)
    assert sorted(sizes(endpoint)) == [2, 3]
    cached = [answer.usage.cached for answer in answers]
    assert cached == [False] * 3 + [True] * 2 + [False] * 2 + [True] * 3


def test_a_sheet_is_dropped_with_the_last_who_waits_for_any_of_it() -> None:
    with FakeEndpoint(latency_s=0.2) as endpoint:

        async def run() -> list[Answer]:
            settings = config(endpoint.url, endpoint={"concurrency": 1})
            async with Asker(settings) as asker:
                asked = [job(1, 2), job(2, 3), job(4, 5), job(6, 7)]
                tasks = [asyncio.create_task(asker.answer(each)) for each in asked]
                await asyncio.sleep(0.05)
                tasks[0].cancel()
                tasks[2].cancel()
                return await tasks[1] + await tasks[3]

        answers = asyncio.run(run())
    assert [answer.value for answer in answers] == truth(2, 3, 6, 7)
    assert endpoint.seen.answered.keys() == {f"item-{number}" for number in (1, 2, 3, 6, 7)}


def test_a_criterion_without_company_is_asked_as_it_is_alone() -> None:
    with FakeEndpoint() as endpoint:
        ask(config(endpoint.url), job(1))
        ask(config(endpoint.url, criteria_per_call=1), job(1))
    together, alone = endpoint.seen.bodies
    assert together == alone
    assert keys(config("http://127.0.0.1:1/v1"), job(1)) == keys(
        config("http://127.0.0.1:1/v1", criteria_per_call=1), job(1)
    )


def test_only_criteria_that_differ_in_nothing_but_their_text_share_a_call() -> None:
    questions = (
        Question("criterion", criterion(1)),
        Question("rating", criterion(2)),
        Question("criterion", criterion(3)),
        Question("grade", criterion(4)),
        Question("criterion", criterion(5), reference="A better answer."),
        Question("criterion", criterion(6)),
    )
    asked = Job(conversation=(("user", "Hello?"),), response="An answer.", questions=questions)
    with FakeEndpoint() as endpoint:
        ask(config(endpoint.url, attempts=1), asked)
    assert sorted(sizes(endpoint)) == [1, 1, 1, 3]


def keys(settings: JudgeConfig, asked: Job) -> list[bytes]:
    return [request.key for request in Renderer(settings).requests(asked)]


def test_verdicts_given_in_company_are_filed_by_criterion_and_by_how_many_may_share_a_call() -> (
    None
):
    url = "http://127.0.0.1:1/v1"
    together = keys(config(url), job(1, 2, 3))
    assert keys(config(url), job(3, 1)) == [together[2], together[0]]
    others = [
        keys(config(url, criteria_per_call=1), job(1, 2, 3)),
        keys(config(url, criteria_per_call=2), job(1, 2, 3)),
        keys(config(url, order_seed=1), job(1, 2, 3)),
        keys(config(url), job(1, 2, 3, repeat=1)),
        keys(config(url), job(1, 2, 3, response="Another.")),
    ]
    found = [together, *others]
    assert len(set(chain.from_iterable(found))) == 3 * len(found)
    alone = config(url, criteria_per_call=1)
    assert keys(alone, job(1, 2)) == keys(alone.model_copy(update={"order_seed": 5}), job(1, 2))


def order(endpoint: FakeEndpoint) -> list[Sequence[str]]:
    return [list(criteria(body).values()) for body in endpoint.seen.bodies]


def test_criteria_stand_in_another_order_for_each_response_and_seed() -> None:
    def asked(**settings: Any) -> list[Sequence[str]]:
        with FakeEndpoint() as endpoint:
            one_by_one = config(endpoint.url, endpoint={"concurrency": 1}, **settings)
            ask(one_by_one, *(job(*range(5), response=f"Answer {n}.") for n in range(40)))
        return order(endpoint)

    orders = asked()
    assert orders == asked()
    assert orders != asked(order_seed=1)
    assert len(set(map(tuple, orders))) > 20
    first = [each[0] for each in orders]
    assert all(2 <= first.count(criterion(number)) <= 16 for number in range(5))


def test_no_response_can_name_a_criterion_of_its_sheet() -> None:
    """The label depends on the response too: to hold it, a response would have to hold its own
    digest."""
    with FakeEndpoint() as endpoint:
        ask(config(endpoint.url), job(1, 2))
        (labels,) = [list(criteria(body)) for body in endpoint.seen.bodies]
        forged = json.dumps({label: {"reason": "", "met": True} for label in labels})
        ask(config(endpoint.url), job(1, 2, response=forged))
    assert not set(labels) & set(criteria(endpoint.seen.bodies[-1]))


def test_jobs_are_taken_up_by_the_calls_that_they_need() -> None:
    async def run(per_call: int | str) -> int:
        url = "http://127.0.0.1:1/v1"
        async with Asker(config(url, criteria_per_call=per_call)) as asker:
            return asker.calls_for(job(*range(10)))

    assert [asyncio.run(run(per_call)) for per_call in (1, 4, "all")] == [10, 3, 1]
