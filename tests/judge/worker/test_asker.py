"""Getting questions answered by endpoints that do not always cooperate."""

from __future__ import annotations

import asyncio
import json
import random
import sqlite3
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack, closing
from email.utils import formatdate
from itertools import chain
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web
from pydantic import ValidationError

from rvpo.config.judge import EndpointConfig, JudgeConfig
from rvpo.errors import ConfigError
from rvpo.judge.types import Answer
from rvpo.judge.worker.asker import Asker
from rvpo.judge.worker.caller import HEDGE_SAMPLES
from rvpo.judge.worker.endpoint import Endpoint
from rvpo.judge.worker.refusal import Failure
from rvpo.judge.worker.request import Renderer
from rvpo.judge.worker.router import NoEndpoint, Router
from tests.judge.server import (
    INPUT_TOKENS,
    OUTPUT_TOKENS,
    FakeEndpoint,
    Faults,
    Script,
    completion,
    criterion,
    is_met,
    verdict,
)
from tests.judge.worker.asking import ask, job

Body = dict[str, Any]


def config(*urls: str, endpoint: Body | None = None, **settings: Any) -> JudgeConfig:
    endpoints = tuple(EndpointConfig(url=url, **(endpoint or {})) for url in urls)
    return JudgeConfig(**{"model": "judge", "endpoints": endpoints, "cache": None, **settings})


def first(*replies: web.Response) -> Script:
    """Gives each of the replies once, and then leaves calls to the rest."""
    left = list(replies)
    return lambda body: left.pop(0) if left else None


def always(reply: Callable[[], web.Response]) -> Script:
    return lambda body: reply()


def says(text: Any, finish_reason: str = "stop") -> web.Response:
    return web.json_response(completion(text, finish_reason))


def test_a_verdict_comes_with_what_it_took() -> None:
    with FakeEndpoint() as endpoint:
        prices = {"input_price": 2.0, "output_price": 10.0}
        answers = ask(config(endpoint.url, endpoint=prices), job(1, 2, 3, 4))
    assert [answer.value for answer in answers] == [
        float(is_met(criterion(number))) for number in (1, 2, 3, 4)
    ]
    for answer in answers:
        usage = answer.usage
        assert (answer.reason, answer.failure) == ("It says so.", None)
        assert (usage.requests, usage.retries, usage.hedges, usage.cached) == (1, 0, 0, False)
        assert (usage.input_tokens, usage.output_tokens) == (INPUT_TOKENS, OUTPUT_TOKENS)
        assert usage.cost == pytest.approx((2 * INPUT_TOKENS + 10 * OUTPUT_TOKENS) / 1e6)
        assert 0 < usage.latency_s < 5
    body, headers = endpoint.seen.bodies[0], endpoint.seen.headers[0]
    assert body["response_format"]["json_schema"]["strict"] is True
    assert (body["model"], body["temperature"], "seed" in body) == ("judge", 0.0, False)
    assert "Authorization" not in headers


def test_a_key_is_sent_and_is_never_seen_elsewhere(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("JUDGE_KEY", "sk-secret\n")
    refused = web.json_response({"error": {"message": "wrong key: sk-secret"}}, status=400)
    with FakeEndpoint(script=first(refused)) as endpoint:
        settings = config(endpoint.url, endpoint={"key_variable": "JUDGE_KEY"}, structured=False)
        (answer,) = ask(settings, job(1))
    assert endpoint.seen.headers[0]["Authorization"] == "Bearer sk-secret"
    assert (answer.failure, answer.detail) == ("http 400", "wrong key: [key]")
    assert "sk-secret" not in repr(answer)


def test_a_key_that_the_judge_repeats_is_not_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("JUDGE_KEY", "correct-horse")
    with FakeEndpoint(script=first(says(verdict(True, "I know correct-horse.")))) as endpoint:
        (answer,) = ask(config(endpoint.url, endpoint={"key_variable": "JUDGE_KEY"}), job(1))
    assert answer.reason == "I know [key]."


@pytest.mark.parametrize(
    ("body", "detail"),
    [
        (
            '{"error": {"message": "No\\tsuch\\nmodel.", "type": "x", "code": null}}',
            "No such model.",
        ),
        ('{"error": "Out of order"}', "Out of order"),
        ('{"object": "error", "message": "Too long", "code": 400}', "Too long"),
        ('{"detail": "Not Found"}', "Not Found"),
        ('{"detail": [{"msg": "ü"}]}', '[{"msg": "ü"}]'),
        ('{"error": {"message": null}}', '{"error": {"message": null}}'),
        ("<h1>Bad\u202e\x1b[31m Gateway</h1>\n", "<h1>Bad [31m Gateway</h1>"),
        ("", ""),
        ("[" * 100_000, "[" * 199 + "…"),
        (" " * 190 + "word " * 100, ("word " * 40)[:199] + "…"),
        ("Keys sk-abc_DEF-12345, sk-proj-****9876 and Bearer abc", "Keys [key], [key] and [key]"),
        ("x" * 190 + "correct-horse" * 9, "x" * 190 + "[key][key…"),
    ],
)
def test_a_refusal_is_told_in_the_servers_words_but_for_keys(
    body: str, detail: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("JUDGE_KEY", "correct-horse")
    with FakeEndpoint(script=always(lambda: web.Response(status=418, text=body))) as endpoint:
        (answer,) = ask(config(endpoint.url, endpoint={"key_variable": "JUDGE_KEY"}), job(1))
    assert (answer.failure, answer.detail) == ("http 418", detail)
    assert Answer.from_json(answer.to_json()) == answer
    assert detail not in answer.usage.attempt_failures


def test_a_failed_answer_comes_with_what_was_said_last() -> None:
    script = first(web.Response(status=500, text="Oops"), says("I cannot tell."))
    with FakeEndpoint(script=script) as endpoint:
        (unreadable,) = ask(config(endpoint.url, attempts=2), job(1))
    assert (unreadable.failure, unreadable.detail) == ("no verdict", "I cannot tell.")
    unasked = always(lambda: web.Response(status=401, text="Who are you?"))
    with FakeEndpoint(script=unasked) as endpoint:
        answers = ask(config(endpoint.url, endpoint={"concurrency": 1}), job(*range(6)))
    assert {(answer.failure, answer.detail) for answer in answers} == {("http 401", "Who are you?")}
    assert [answer.usage.requests for answer in answers] == [1, 1, 1, 0, 0, 0]


def test_a_refusal_counts_before_its_words_have_come() -> None:
    with FakeEndpoint(Faults(drip=1.0, drip_status=404)) as endpoint:
        (answer,) = ask(config(endpoint.url), job(1))
    assert (answer.failure, answer.detail) == ("http 404", "")


@pytest.mark.parametrize("value", [None, "", " ", "sk-with\nnewline", "sk-ünicode"])
def test_a_missing_or_damaged_key_is_one_sentence_without_it(
    value: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("JUDGE_KEY", raising=False)
    if value is not None:
        monkeypatch.setenv("JUDGE_KEY", value)
    with pytest.raises(ConfigError, match=r"judge\.endpoints\[0\]\.key_variable: JUDGE_KEY") as e:
        Asker(config("http://127.0.0.1:1/v1", endpoint={"key_variable": "JUDGE_KEY"}))
    assert "sk-" not in str(e.value)


@pytest.mark.parametrize("url", ["http://", "http://[::1", "http://host:port/v1", "http:///v1"])
def test_an_address_that_is_none_is_one_sentence(url: str) -> None:
    with pytest.raises(ValidationError, match=r"must be an address such as https://api\.openai"):
        EndpointConfig(url=url)


def test_limits_that_cannot_be_divided_are_one_sentence() -> None:
    settings = config("http://127.0.0.1:1/v1", endpoint={"requests_per_minute": 1})
    with pytest.raises(ConfigError, match=r"requests_per_minute: 1 cannot be shared by 2 workers"):
        Asker(settings, share=(1, 2))


def test_a_failed_call_is_made_again_and_counted() -> None:
    with FakeEndpoint(script=first(web.Response(status=500), says("I cannot tell."))) as endpoint:
        (answer,) = ask(config(endpoint.url), job(1))
    assert answer.value == is_met(criterion(1))
    assert answer.usage.attempt_failures == {"http 500": 1, "no verdict": 1}
    assert (answer.usage.requests, answer.usage.retries) == (3, 2)
    assert (answer.usage.parse_failures, answer.usage.input_tokens) == (1, 2 * INPUT_TOKENS)


def test_attempts_are_bounded_and_the_last_reason_is_the_answers() -> None:
    script = first(web.Response(status=500), *(says("Maybe.") for _ in range(9)))
    with FakeEndpoint(script=script) as endpoint:
        (answer,) = ask(config(endpoint.url, attempts=3), job(1))
    assert (answer.value, answer.failure) == (None, "no verdict")
    assert answer.usage.attempt_failures == {"http 500": 1, "no verdict": 2}
    assert len(endpoint.seen.bodies) == 3


def test_an_unreadable_reply_is_not_asked_for_in_the_same_way() -> None:
    cut = '{"reason": "It is so, beca'
    with FakeEndpoint(script=first(says(cut, "length"), says("Hm."))) as endpoint:
        (answer,) = ask(config(endpoint.url), job(1))
    assert answer.usage.attempt_failures == {"truncated": 1, "no verdict": 1}
    sampling = [(body.get("seed"), body["temperature"]) for body in endpoint.seen.bodies]
    assert sampling == [(None, 0.0), (1, 0.3), (2, 0.3)]


def test_a_reply_that_reached_the_token_limit_is_read_only_if_whole() -> None:
    beside = verdict(False) + " Wait, that is"
    script = first(says(beside, "length"), says(verdict(True), "length"))
    with FakeEndpoint(script=script) as endpoint:
        (answer,) = ask(config(endpoint.url), job(1))
    assert (answer.value, answer.usage.attempt_failures) == (1.0, {"truncated": 1})
    assert len(endpoint.seen.bodies) == 2


@pytest.mark.parametrize(
    ("extra_body", "expected"),
    [
        ({"temperature": 0, "seed": 7}, [(0, 7), (0.3, 8), (0.3, 9)]),
        ({"temperature": 0.8}, [(0.8, None), (0.8, 1), (0.8, 2)]),
        ({"temperature": None, "seed": None}, [(None, None)] * 3),
    ],
)
def test_another_sample_differs_whatever_the_extra_body_says(
    extra_body: Body, expected: list[tuple[float | None, int | None]]
) -> None:
    with FakeEndpoint(script=first(says("Hm."), says("Hm."))) as endpoint:
        ask(config(endpoint.url, extra_body=extra_body), job(1))
    bodies = endpoint.seen.bodies
    assert [(body.get("temperature"), body.get("seed")) for body in bodies] == expected
    assert not any(value is None for body in bodies for value in body.values())


@pytest.mark.parametrize("name", ["model", "messages", "response_format", "stream", "n"])
def test_extra_body_cannot_change_what_a_call_is(name: str) -> None:
    with pytest.raises(ValidationError, match=f"'{name}' is set by rvpo itself; leave it out"):
        config("http://127.0.0.1:1/v1", extra_body={name: 2})


@pytest.mark.parametrize(
    "body", [b"", b"<html>", b"[]", b"{}", b'{"choices": []}', b"[" * 100_000, b'"\xff"', b"null"]
)
def test_what_is_no_completion_is_a_failure(body: bytes) -> None:
    with FakeEndpoint(script=always(lambda: web.Response(body=body))) as endpoint:
        (answer,) = ask(config(endpoint.url, attempts=1), job(1))
    assert answer.failure == "no completion"


def lying(**changes: Any) -> Body:
    """A completion with a verdict in it, and what takes it back."""
    choice = {"message": {"content": verdict(True)}, "finish_reason": "stop"}
    return {"choices": [choice | changes.pop("choice", {})], **changes}


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        (lying(error={"message": "Overloaded"}), "error in the reply"),
        (lying(choice={"error": {"code": 502}}), "error in the reply"),
        (lying(choice={"finish_reason": "error"}), "finish reason error"),
        (lying(choice={"finish_reason": "content_filter"}), "finish reason content_filter"),
        (
            lying(choice={"message": {"content": verdict(True), "refusal": "I will not."}}),
            "refusal",
        ),
        ({"choices": lying()["choices"] * 2}, "no completion"),
    ],
)
def test_a_verdict_that_its_reply_takes_back_is_none(body: Body, reason: str) -> None:
    with FakeEndpoint(script=always(lambda: web.json_response(body))) as endpoint:
        (answer,) = ask(config(endpoint.url, attempts=1), job(1))
    assert (answer.value, answer.failure) == (None, reason)


def test_a_reply_with_a_repeated_key_is_no_completion() -> None:
    choices = json.dumps(lying())[1:-1]
    twice = f"{{{choices}, {choices}}}"
    with FakeEndpoint(script=always(lambda: web.Response(text=twice))) as endpoint:
        (answer,) = ask(config(endpoint.url, attempts=1), job(1))
    assert (answer.value, answer.failure) == (None, "no completion")


def test_any_status_of_success_is_one() -> None:
    created = web.json_response(completion(verdict(True)), status=201)
    with FakeEndpoint(script=first(created)) as endpoint:
        (answer,) = ask(config(endpoint.url, attempts=1), job(1))
    assert (answer.value, answer.failure) == (1.0, None)


def test_a_reply_in_parts_is_read_as_one() -> None:
    text = verdict(True)
    parts = [
        {"type": "thinking", "text": verdict(False)},
        {"type": "text", "text": text[:9]},
        "and",
        {"type": "text"},
        {"type": "text", "text": text[9:]},
    ]
    script = first(says(parts))
    with FakeEndpoint(script=script) as endpoint:
        (answer,) = ask(config(endpoint.url, attempts=1), job(1))
    assert (answer.value, answer.reason) == (1.0, "It says so.")
    assert answer.usage.requests == 1


@pytest.mark.parametrize("count", [True, -5, 2.5, 10**400, 10**10, "7", None])
def test_only_counts_of_tokens_are_counted(count: Any) -> None:
    usage = {"prompt_tokens": 7, "completion_tokens": count}
    script = first(web.json_response(completion(verdict(True), usage=usage)))
    with FakeEndpoint(script=script) as endpoint:
        limits = {"output_price": 1.0, "tokens_per_minute": 100_000}
        (answer,) = ask(config(endpoint.url, endpoint=limits), job(1))
    assert answer.value == 1.0
    assert (answer.usage.input_tokens, answer.usage.output_tokens) == (7, 0)
    assert answer.usage.cost == pytest.approx(len(verdict(True)) / 3 / 1e6)  # by its length


@pytest.mark.parametrize("later", ["Mon, 01 Jan 99999999999999999999 00:00:00 GMT", "-1", "soon"])
def test_a_retry_after_that_is_none_is_passed_over(later: str) -> None:
    script = first(web.Response(status=503, headers={"Retry-After": later}))
    with FakeEndpoint(script=script) as endpoint:
        (answer,) = ask(config(endpoint.url), job(1))
    assert (answer.failure, answer.usage.attempt_failures) == (None, {"http 503": 1})


def test_a_reply_is_read_up_to_a_limit() -> None:
    long = verdict(True) + " " * 2**21
    with FakeEndpoint(script=always(lambda: says(long))) as endpoint:
        (answer,) = ask(config(endpoint.url, attempts=2), job(1))
    assert (answer.value, answer.failure) == (None, "reply too long")


def without_schemas(body: Body) -> web.Response | None:
    return web.Response(status=400) if "response_format" in body else None


def test_an_endpoint_that_refuses_schemas_is_asked_without_from_then_on() -> None:
    with FakeEndpoint(script=without_schemas) as endpoint:

        async def run() -> list[Answer]:
            async with Asker(config(endpoint.url, attempts=1)) as asker:
                return [(await asker.answer(job(number)))[0] for number in range(3)]

        *found_out, later = asyncio.run(run())
    assert [once.usage.attempt_failures for once in found_out] == [{"schema refused": 1}] * 2
    assert (later.value, later.usage.requests) == (float(is_met(criterion(2))), 1)


@pytest.mark.parametrize("words", ["", "Hiccup.", "response_format: no route to its provider"])
@pytest.mark.parametrize("concurrency", [1, 8])
def test_a_schema_that_was_accepted_outlives_stray_refusals(words: str, concurrency: int) -> None:
    chance = random.Random(3)

    def script(body: Body) -> web.Response | None:
        is_stray = "item-0." not in json.dumps(body) and "response_format" in body
        stray = is_stray and chance.random() < 0.1
        return web.Response(status=400, text=words) if stray else None

    with FakeEndpoint(script=script) as endpoint:

        async def run() -> list[Answer]:
            settings = config(endpoint.url, endpoint={"concurrency": concurrency})
            async with Asker(settings) as asker:
                first = await asker.answer(job(0))
                jobs = (asker.answer(job(number)) for number in range(1, 150))
                return first + list(chain.from_iterable(await asyncio.gather(*jobs)))

        answers = asyncio.run(run())
    assert [(answer.failure, answer.news) for answer in answers] == [(None, ())] * 150
    schemas = ["response_format" in body for body in endpoint.seen.bodies]
    assert 5 < schemas.count(False) < 30


def test_a_schema_that_is_no_longer_accepted_is_given_up_in_the_end() -> None:
    def script(body: Body) -> web.Response | None:
        return without_schemas(body) if len(endpoint.seen.bodies) > 20 else None

    with FakeEndpoint(script=script) as endpoint:
        settings = config(endpoint.url, endpoint={"concurrency": 1})
        answers = ask(settings, *(job(number) for number in range(80)))
    assert [answer.failure for answer in answers] == [None] * 80
    assert len(endpoint.seen.bodies) < 110
    assert sum(len(answer.news) for answer in answers) == 1


def test_a_prompt_that_is_refused_does_not_turn_schemas_off() -> None:
    def script(body: Body) -> web.Response | None:
        return web.Response(status=400) if "too long" in body["messages"][-1]["content"] else None

    with FakeEndpoint(script=script) as endpoint:

        async def run() -> list[Answer]:
            async with Asker(config(endpoint.url)) as asker:
                refused = await asker.answer(job(1, response="This is too long."))
                return refused + await asker.answer(job(1))

        refused, fine = asyncio.run(run())
    assert refused.failure == "http 400"
    assert refused.usage.attempt_failures == {"schema refused": 1, "http 400": 1}
    assert (fine.value, fine.usage.requests) == (float(is_met(criterion(1))), 1)
    assert "response_format" in endpoint.seen.bodies[-1]


def test_an_empty_completion_under_a_schema_is_asked_for_in_text_that_once() -> None:
    with FakeEndpoint(script=first(says(""))) as endpoint:

        async def run() -> list[Answer]:
            async with Asker(config(endpoint.url, attempts=1)) as asker:
                return await asker.answer(job(1)) + await asker.answer(job(2))

        once, later = asyncio.run(run())
    assert once.usage.attempt_failures == {"empty reply": 1}
    assert (once.failure, later.failure) == (None, None)
    formats = ["response_format" in body for body in endpoint.seen.bodies]
    assert formats == [True, False, True]


@pytest.mark.parametrize("name", ["code", "type"])
def test_a_quota_that_is_used_up_is_not_waited_for(name: str) -> None:
    error = {"error": {"message": "You exceeded your quota.", name: "insufficient_quota"}}
    refused = always(lambda: web.json_response(error, status=429, headers={"Retry-After": "60"}))
    with FakeEndpoint(script=refused) as endpoint, FakeEndpoint() as fine:
        started = time.monotonic()
        settings = config(endpoint.url, endpoint={"concurrency": 2})
        answers = ask(settings, *(job(number) for number in range(20)))
        assert time.monotonic() - started < 5
        (answer,) = ask(config(endpoint.url, fine.url), job(1))
    assert {(a.failure, a.detail) for a in answers} == {
        ("quota used up", "You exceeded your quota.")
    }
    assert len(endpoint.seen.bodies) <= 3
    assert answer.failure is None


@pytest.mark.parametrize("status", [401, 403, 404])
def test_a_wrong_key_or_model_fails_everything_at_once(status: int) -> None:
    with FakeEndpoint(script=always(lambda: web.Response(status=status))) as endpoint:
        settings = config(endpoint.url, endpoint={"concurrency": 2})
        started = time.monotonic()
        answers = ask(settings, *(job(number) for number in range(50)))
    assert {answer.failure for answer in answers} == {f"http {status}"}
    assert len(endpoint.seen.bodies) <= 3
    assert time.monotonic() - started < 2


def moderated(numbers: set[int], reply: Callable[[], web.Response]) -> Script:
    """Denies the questions of some numbers, as gateways do that moderate."""
    texts = [criterion(number) for number in numbers]
    return lambda body: reply() if any(t in json.dumps(body) for t in texts) else None


@pytest.mark.parametrize("status", [401, 402, 403, 404])
def test_an_endpoint_whose_first_question_is_denied_is_not_given_up(status: int) -> None:
    script = moderated({0, 1, 7}, lambda: web.Response(status=status))
    with FakeEndpoint(script=script) as endpoint:
        settings = config(endpoint.url, endpoint={"concurrency": 1})
        answers = ask(settings, *(job(number) for number in range(20)))
    lost = {number for number, answer in enumerate(answers) if answer.failure is not None}
    assert lost == {0, 1, 7}
    assert len(endpoint.seen.arrivals) <= 22


@pytest.mark.parametrize("status", [401, 402, 403, 404])
@pytest.mark.parametrize("concurrency", [1, 2, 64])
def test_a_wrong_key_is_found_out_by_few_calls(status: int, concurrency: int) -> None:
    with FakeEndpoint(script=always(lambda: web.Response(status=status))) as endpoint:
        settings = config(endpoint.url, endpoint={"concurrency": concurrency})
        answers = ask(settings, *(job(number) for number in range(200)))
    assert {answer.failure for answer in answers} == {f"http {status}"}
    assert len(endpoint.seen.arrivals) <= max(4, concurrency + 1)


@pytest.mark.parametrize("status", [401, 402, 403, 404])
@pytest.mark.parametrize("denied", [{0}, {3, 17, 30}, set(range(10, 30))])
def test_a_question_that_is_denied_fails_alone(status: int, denied: set[int]) -> None:
    script = moderated(denied, lambda: web.Response(status=status))
    with FakeEndpoint(script=script) as endpoint:
        answers = ask(config(endpoint.url), *(job(number) for number in range(40)))
    lost = {number for number, answer in enumerate(answers) if answer.failure is not None}
    assert lost == denied
    assert {answers[number].failure for number in lost} <= {
        f"http {status}",
        f"denied with http {status}",
    }
    # Until a schema was accepted, a 404 may be about it: then the question is asked once more.
    again = len(denied) if status == 404 else 0
    assert 40 <= len(endpoint.seen.arrivals) <= 40 + again


def test_a_denied_question_is_asked_of_another_endpoint() -> None:
    script = moderated({3, 4}, lambda: web.Response(status=403))
    with FakeEndpoint(script=script) as strict, FakeEndpoint() as fine:
        answers = ask(config(strict.url, fine.url), *(job(number) for number in range(40)))
    assert all(answer.failure is None for answer in answers)


@pytest.mark.parametrize(
    "error",
    [
        {"code": 429, "message": "slow down"},
        {"code": "429"},
        {"type": "rate_limit_exceeded"},
        {"code": 503},
        {"type": "overloaded_error"},
    ],
)
def test_an_error_in_a_reply_of_success_is_waited_out_as_its_status_is(error: Body) -> None:
    """For half a second the server answers so, and asking at once would be in vain."""
    until = time.monotonic() + 0.5

    def failing(body: Body) -> web.Response | None:
        return web.json_response({"error": error}) if time.monotonic() < until else None

    with FakeEndpoint(script=failing) as endpoint:
        settings = config(endpoint.url, attempts=6)
        answers = ask(settings, *(job(number) for number in range(30)))
    assert [answer.failure for answer in answers] == [None] * 30


NO_COMPLETIONS: list[tuple[int, str]] = [
    (200, ""),
    (200, "<html>Please wait</html>"),
    (200, "data: [DONE]"),
    (200, "[]"),
    (200, '"later"'),
    (200, '{"choices": null}'),
    (200, '{"choices": []}'),
    (200, '{"choices": [{"message": null, "finish_reason": "stop"}]}'),
    (200, '{"choices": [{"message": {"content": null}, "finish_reason": "stop"}]}'),
    (200, '{"error": "Too many requests"}'),
    (200, '{"error": {"code": "1302", "message": "?"}}'),
    (200, '[{"error": {"code": 429, "status": "RESOURCE_EXHAUSTED"}}]'),
    (200, '{"detail": "Rate limit exceeded", "status_code": 429}'),
    (200, '{"success": false, "code": 503}'),
    (204, ""),
    (400, '{"error": {"code": "rate_limit_exceeded"}}'),
    (401, '{"error": {"type": "overloaded_error"}}'),
    (403, "Too many requests"),
    (404, '{"code": 503, "msg": "?"}'),
    (422, '{"detail": "Rate limit exceeded, try again in 1s"}'),
]


@pytest.mark.parametrize(("status", "text"), NO_COMPLETIONS)
def test_a_bad_minute_loses_no_verdict_whatever_it_says(status: int, text: str) -> None:
    until = time.monotonic() + 0.7

    def failing(body: Body) -> web.Response | None:
        early = time.monotonic() < until
        return web.Response(status=status, text=text) if early else None

    with FakeEndpoint(script=failing) as endpoint:
        settings = config(endpoint.url, endpoint={"concurrency": 8}, attempts=7)
        answers = ask(settings, *(job(number) for number in range(40)))
    assert [answer.failure for answer in answers] == [None] * 40
    assert len(endpoint.seen.arrivals) < 160


def test_a_question_that_never_gets_a_completion_fails_alone() -> None:
    script = moderated({3, 17}, lambda: web.json_response({"choices": []}))
    with FakeEndpoint(script=script) as endpoint:
        answers = ask(config(endpoint.url, attempts=2), *(job(number) for number in range(40)))
    lost = {number for number, answer in enumerate(answers) if answer.failure is not None}
    assert lost == {3, 17}
    assert {answers[number].failure for number in lost} == {"no completion"}


@pytest.mark.parametrize("status", [404, 405, 415, 500, 503])
def test_a_refused_schema_is_known_by_its_words_whatever_the_status(status: int) -> None:
    def plain_only(body: Body) -> web.Response | None:
        if "response_format" not in body:
            return None
        return web.json_response({"error": {"message": "no response_format here"}}, status=status)

    with FakeEndpoint(script=plain_only) as endpoint:
        settings = config(endpoint.url, endpoint={"concurrency": 2})
        answers = ask(settings, *(job(number) for number in range(20)))
    assert all(answer.failure is None for answer in answers)
    assert len(endpoint.seen.arrivals) <= 24


@pytest.mark.parametrize("status", [400, 404, 405, 406, 415, 418, 422, 500, 501, 503])
@pytest.mark.parametrize("concurrency", [1, 4, 64])
def test_a_schema_that_is_refused_without_a_word_is_left_out(status: int, concurrency: int) -> None:
    def plain_only(body: Body) -> web.Response | None:
        return web.Response(status=status) if "response_format" in body else None

    with FakeEndpoint(script=plain_only) as endpoint:
        settings = config(endpoint.url, endpoint={"concurrency": concurrency})
        answers = ask(settings, *(job(number) for number in range(80)))
    assert [answer.failure for answer in answers] == [None] * 80
    assert len(endpoint.seen.arrivals) <= 80 + 2 * max(4, concurrency)
    assert "response_format" not in endpoint.seen.bodies[-1]
    (said,) = (text for answer in answers for text in answer.news)
    assert "judge.endpoints[0] refuses `response_format`" in said


@pytest.mark.parametrize("status", [500, 503])
def test_a_bad_beginning_does_not_turn_schemas_off(status: int) -> None:
    """The first calls fail whatever their form."""
    script = first(*(web.Response(status=status) for _ in range(7)))
    with FakeEndpoint(script=script) as endpoint:
        settings = config(endpoint.url, attempts=9, endpoint={"concurrency": 4})
        answers = ask(settings, *(job(number) for number in range(60)))
    assert "response_format" in endpoint.seen.bodies[-1]
    assert [answer.news for answer in answers] == [()] * 60
    assert sum("response_format" not in body for body in endpoint.seen.bodies) <= 10


def named(text: str, model: str) -> web.Response:
    return web.json_response({**completion(text), "model": model})


def test_another_model_is_recorded_and_said_once(tmp_path: Path) -> None:
    settings: Body = {"model": "small-x", "cache": tmp_path / "cache.sqlite"}
    with FakeEndpoint(script=always(lambda: named(verdict(True), "other"))) as endpoint:
        answers = ask(config(endpoint.url, **settings), *(job(number) for number in range(9)))
        again = ask(config(endpoint.url, **settings), job(0))
    assert {(answer.model, answer.usage.other_model) for answer in answers} == {("other", True)}
    (said,) = (text for answer in answers for text in answer.news)
    assert "judge.endpoints[0] was asked for 'small-x' and answers as 'other'" in said
    assert not again[0].usage.cached

    with FakeEndpoint(script=always(lambda: named(verdict(False), "small-x-2026-01-01"))) as right:
        asked = ask(config(right.url, **settings), *(job(number) for number in range(9)))
        known = ask(config(right.url, **settings), *(job(number) for number in range(9)))
    assert [(answer.value, answer.usage.other_model) for answer in asked] == [(0.0, False)] * 9
    assert [(answer.value, answer.usage.cached) for answer in known] == [(0.0, True)] * 9
    assert [answer.news for answer in asked + known] == [()] * 18


def test_a_model_that_changes_during_a_run_is_said_once_and_its_verdicts_are_told_apart(
    tmp_path: Path,
) -> None:
    asked: list[Body] = []

    def changing(body: Body) -> web.Response:
        asked.append(body)
        return named(verdict(True), f"small-x-2026-01-0{1 if len(asked) <= 10 else 2}")

    with FakeEndpoint(script=changing) as endpoint:

        async def run() -> list[Answer]:
            judge = config(endpoint.url, model="small-x", cache=tmp_path / "cache.sqlite")
            async with Asker(judge) as asker:
                return [
                    answer
                    for number in (*range(20), *range(20))
                    for answer in await asker.answer(job(number))
                ]

        answers = asyncio.run(run())
    (said,) = (text for answer in answers for text in answer.news)
    assert "'small-x-2026-01-01' and now also answers as 'small-x-2026-01-02'" in said
    assert [answer.usage.other_model for answer in answers[:20]] == [False] * 10 + [True] * 10
    assert [answer.usage.cached for answer in answers[20:]] == [False] * 10 + [True] * 10


def test_another_endpoint_takes_over_from_a_broken_one() -> None:
    with (
        FakeEndpoint(script=always(lambda: web.Response(status=401))) as broken,
        FakeEndpoint() as fine,
    ):
        settings = config(broken.url, fine.url, attempts=1, endpoint={"concurrency": 4})
        answers = ask(settings, *(job(number) for number in range(40)))
    assert all(answer.failure is None for answer in answers)
    assert len(broken.seen.bodies) <= 4


def test_a_retry_prefers_another_endpoint() -> None:
    with FakeEndpoint(Faults(server_error=1.0)) as failing, FakeEndpoint() as fine:
        answers = ask(config(failing.url, fine.url), *(job(number) for number in range(8)))
    assert all(answer.failure is None for answer in answers)
    assert max(answer.usage.requests for answer in answers) <= 2


@pytest.mark.parametrize("form", ["seconds", "date"])
def test_waiting_out_a_429_is_no_attempt_and_holds_for_all_calls(form: str) -> None:
    def limited(body: Body) -> web.Response | None:
        if len(endpoint.seen.arrivals) > 1:
            return None
        later = "1" if form == "seconds" else formatdate(time.time() + 2, usegmt=True)
        return web.Response(status=429, headers={"Retry-After": later})

    with FakeEndpoint(script=limited) as endpoint:
        settings = config(endpoint.url, attempts=1, endpoint={"concurrency": 1})
        answers = ask(settings, *(job(number) for number in range(4)))
    assert all(answer.failure is None for answer in answers)
    assert sum(answer.usage.attempt_failures.get("http 429", 0) for answer in answers) == 1
    arrivals = endpoint.seen.arrivals
    assert arrivals[1] - arrivals[0] > 0.9
    assert len(arrivals) == 5


def test_a_429_without_retry_after_is_not_asked_again_in_a_loop() -> None:
    with FakeEndpoint(script=always(lambda: web.Response(status=429))) as endpoint:
        (answer,) = ask(config(endpoint.url, deadline_s=1.5, attempts=1), job(1))
    assert answer.failure == "http 429"
    assert 2 <= len(endpoint.seen.arrivals) <= 6


def test_the_deadline_holds_through_a_long_retry_after() -> None:
    headers = {"Retry-After": "3600"}
    limited = always(lambda: web.Response(status=429, headers=headers))
    with FakeEndpoint(script=limited) as endpoint:
        started = time.monotonic()
        settings = config(endpoint.url, deadline_s=0.5, endpoint={"concurrency": 1})
        answers = ask(settings, *(job(number) for number in range(20)))
        assert time.monotonic() - started < 1.5
    assert {answer.failure for answer in answers} == {"http 429"}


@pytest.mark.parametrize("faults", [Faults(hang=1.0), Faults(drip=1.0)])
def test_an_attempt_is_bounded_in_all(faults: Faults) -> None:
    with FakeEndpoint(faults) as endpoint:
        started = time.monotonic()
        (answer,) = ask(config(endpoint.url, timeout_s=0.3, attempts=2), job(1))
        assert time.monotonic() - started < 2
    assert answer.usage.attempt_failures == {"timeout": 2}


def test_dropped_and_refused_connections_are_failures() -> None:
    with FakeEndpoint(Faults(drop=1.0)) as endpoint:
        (dropped,) = ask(config(endpoint.url, attempts=2), job(1))
    (refused,) = ask(config(endpoint.url, attempts=1), job(1))
    assert (dropped.failure, refused.failure) == ("connection", "connection")


def test_a_redirect_is_not_followed() -> None:
    moved = always(lambda: web.Response(status=307, headers={"Location": "http://127.0.0.1:1/"}))
    with FakeEndpoint(script=moved) as endpoint:
        (answer,) = ask(config(endpoint.url), job(1))
    assert answer.failure == "http 307"


def test_when_all_is_silent_queued_questions_do_not_wait_for_their_own_deadlines() -> None:
    with FakeEndpoint(Faults(hang=1.0)) as endpoint:
        settings = config(endpoint.url, timeout_s=0.2, deadline_s=1.0, endpoint={"concurrency": 2})
        started = time.monotonic()
        answers = ask(settings, *(job(number) for number in range(200)))
        assert time.monotonic() - started < 3.5
    assert {answer.failure for answer in answers} == {"timeout"}


def test_after_silence_one_answer_is_enough_to_go_on() -> None:
    healed = threading.Event()

    def script(body: Body) -> web.Response | None:
        return None if healed.is_set() else web.Response(status=500)

    with FakeEndpoint(script=script) as endpoint:

        async def run() -> Sequence[Answer]:
            settings = config(endpoint.url, deadline_s=2.0, endpoint={"concurrency": 2})
            async with Asker(settings) as asker:
                silent = await asyncio.gather(*(asker.answer(job(number)) for number in range(30)))
                assert all(answer.failure is not None for (answer,) in silent)
                healed.set()
                while (await asker.answer(job(99)))[0].failure is not None:
                    await asyncio.sleep(0.02)
                return await asker.answer(job(*range(50)))

        answers = asyncio.run(run())
    assert all(answer.failure is None for answer in answers)


@pytest.mark.parametrize(
    ("failures", "is_over"),
    [
        (["connection"], True),
        (["unknown host", "tls"], True),
        (["timeout", "connection"], False),
        (["http 503", "connection"], False),
        (["heard", "connection"], False),
    ],
)
def test_a_judge_that_was_never_reached_is_given_up_early(
    failures: list[str], is_over: bool
) -> None:
    async def run() -> list[bool]:
        settings = EndpointConfig(url="http://127.0.0.1:1/v1", concurrency=1)
        endpoint = Endpoint(settings, "judge", "judge.endpoints[0]", (0, 1))
        router = Router((endpoint,), patience_s=300.0, stranger_patience_s=0.2)
        deadline = asyncio.get_running_loop().time() + 300.0
        permit = await router.permit(1)
        for reason in failures:
            router.heard() if reason == "heard" else router.failed(Failure(reason))
        router.leave(permit)
        await router.permit(1)  # and is never left
        waiting = [
            asyncio.create_task(router.permit(1)),
            asyncio.create_task(router.permit_again(1, endpoint, deadline)),
        ]
        await asyncio.wait(waiting, timeout=1.0)
        over = [task.done() and isinstance(task.exception(), NoEndpoint) for task in waiting]
        for task in waiting:
            task.cancel()
        await asyncio.gather(*waiting, return_exceptions=True)
        return over

    assert asyncio.run(run()) == [is_over, is_over]


def test_equal_questions_in_flight_are_asked_once() -> None:
    with FakeEndpoint(latency_s=0.1) as endpoint:
        answers = ask(config(endpoint.url), job(1, 1), job(1), job(1, repeat=1))
    assert len(endpoint.seen.bodies) == 2
    assert [answer.usage.cached for answer in answers] == [False, True, True, False]
    assert len({answer.value for answer in answers}) == 1


def test_a_question_is_dropped_only_with_its_last_asker() -> None:
    with FakeEndpoint(latency_s=0.2) as endpoint:

        async def run() -> list[Answer]:
            settings = config(endpoint.url, endpoint={"concurrency": 2})
            async with Asker(settings) as asker:
                tasks = [asyncio.create_task(asker.answer(job(n))) for n in (1, 1, 2, 3, 4)]
                await asyncio.sleep(0.05)
                for number in (0, 2, 3):
                    tasks[number].cancel()
                shared = await tasks[1]
                return shared + await tasks[4]

        shared, last = asyncio.run(run())
    assert (shared.failure, last.failure) == (None, None)
    asked = {body["messages"][-1]["content"].count("item-3.") for body in endpoint.seen.bodies}
    assert asked == {0}
    assert endpoint.seen.answered.keys() >= {"item-1", "item-4"}


def test_a_second_run_asks_nothing_and_a_repeat_asks_anew(tmp_path: Path) -> None:
    cache = tmp_path / "cache.sqlite"
    with FakeEndpoint() as endpoint:
        once = ask(config(endpoint.url, cache=cache), job(1, 2))
        again = ask(config(endpoint.url, cache=cache), job(1, 2))
        assert len(endpoint.seen.bodies) == 2
        ask(config(endpoint.url, cache=cache), job(1, repeat=1))
        ask(config(endpoint.url, cache=cache, temperature=0.5), job(1))
        ask(config(endpoint.url, cache=cache, revision="2"), job(1))
        ask(config(endpoint.url, cache=cache, structured=False), job(1))
        ask(config(endpoint.url, cache=cache), job(1, response="Another."))
        assert len(endpoint.seen.bodies) == 7
    assert [a.value for a in once] == [a.value for a in again]
    assert [a.reason for a in once] == [a.reason for a in again]
    assert all(a.usage.cached and a.usage.requests == 0 for a in again)


def key(settings: JudgeConfig) -> bytes:
    once = job(1)
    return Renderer(settings).render(once, once.questions[0]).key


def test_verdicts_are_filed_under_the_models_that_the_endpoints_are_asked_for() -> None:
    def named(*models: str | None) -> bytes:
        endpoints = [EndpointConfig(url="http://127.0.0.1:1/v1", model=model) for model in models]
        return key(config(endpoints=tuple(endpoints)))

    assert named(None) == named("judge") == named("judge", None)
    assert named("a", "b") == named("b", "a", "b")
    assert len({named(None), named("a"), named("b"), named("a", "b"), named("a", None)}) == 5


def test_verdicts_are_filed_under_the_version_of_the_prompt(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    settings = config("http://127.0.0.1:1/v1")
    before = key(settings)
    assert key(settings) == before
    monkeypatch.setattr("rvpo.judge.worker.request.PROMPT_VERSION", "another")
    assert key(settings) != before


def test_failures_are_not_remembered(tmp_path: Path) -> None:
    cache = tmp_path / "cache.sqlite"
    with FakeEndpoint(script=first(says("Maybe."))) as endpoint:
        settings = config(endpoint.url, cache=cache, attempts=1)
        (failed,), (answered,) = ask(settings, job(1)), ask(settings, job(1))
    assert (failed.value, failed.failure) == (None, "no verdict")
    assert (answered.value, answered.failure, answered.usage.cached) == (1.0, None, False)
    assert len(endpoint.seen.bodies) == 2


def test_no_more_calls_are_in_flight_than_allowed() -> None:
    with ExitStack() as stack:
        endpoints = [stack.enter_context(FakeEndpoint(latency_s=0.1)) for _ in range(2)]
        settings = config(*(e.url for e in endpoints), endpoint={"concurrency": 5})
        ask(settings, *(job(*range(10 * n, 10 * n + 10)) for n in range(10)))
    assert [endpoint.seen.most_in_flight for endpoint in endpoints] == [5, 5]
    assert min(len(endpoint.seen.bodies) for endpoint in endpoints) > 30


def test_requests_per_minute_are_spread_over_the_minute() -> None:
    with FakeEndpoint() as endpoint:
        settings = config(endpoint.url, endpoint={"requests_per_minute": 600})
        ask(settings, job(*range(25)))
    arrivals = endpoint.seen.arrivals
    assert sum(arrival - arrivals[0] < 0.5 for arrival in arrivals) <= 20
    assert 1.2 < arrivals[-1] - arrivals[0] < 2.5


def test_tokens_per_minute_hold_calls_back() -> None:
    with FakeEndpoint() as endpoint:
        # A second's burst is 100 tokens; a call is estimated at more than 500 and uses 120.
        settings = config(endpoint.url, endpoint={"tokens_per_minute": 6000})
        ask(settings, job(*range(4)))
    arrivals = endpoint.seen.arrivals
    assert arrivals[-1] - arrivals[0] > 1.5


def test_a_slow_call_is_overtaken_by_a_second_one() -> None:
    def latency_s(generator: random.Random) -> float:
        return 1.0 if generator.random() < 0.1 else 0.02

    with FakeEndpoint(latency_s=latency_s, seed=1) as endpoint:

        async def run() -> tuple[list[Answer], list[Answer]]:
            async with Asker(config(endpoint.url, hedge_quantile=0.8)) as asker:
                early = await asker.answer(job(*range(HEDGE_SAMPLES)))
                late = [await asker.answer(job(100 + number)) for number in range(40)]
                return early, list(chain.from_iterable(late))

        early, late = asyncio.run(run())
    assert [a.value for a in late] == [float(is_met(criterion(100 + n))) for n in range(40)]
    assert sum(answer.usage.hedges for answer in early) == 0
    assert max(answer.usage.latency_s for answer in early) > 0.9
    assert sum(answer.usage.hedges for answer in late) > 0
    assert sum(answer.usage.latency_s > 0.9 for answer in late) <= 1
    assert all(a.usage.requests == 1 + a.usage.hedges and a.usage.retries == 0 for a in late)


def test_a_dead_endpoint_is_left_alone_most_of_the_time() -> None:
    with FakeEndpoint(Faults(server_error=1.0)) as dead, FakeEndpoint(latency_s=0.01) as fine:
        settings = config(dead.url, fine.url, endpoint={"concurrency": 2})
        answers = ask(settings, *(job(number) for number in range(300)))
    assert all(answer.failure is None for answer in answers)
    assert len(dead.seen.bodies) < 20


def test_the_environments_proxy_is_used_except_for_this_machine(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with FakeEndpoint() as proxy, FakeEndpoint() as here:
        monkeypatch.setenv("http_proxy", proxy.url.removesuffix("/v1"))
        monkeypatch.delenv("no_proxy", raising=False)
        monkeypatch.delenv("NO_PROXY", raising=False)
        (far,) = ask(config("http://judge.invalid/v1"), job(1))
        (near,) = ask(config(here.url), job(1))
    assert (far.failure, near.failure) == (None, None)
    assert (len(proxy.seen.bodies), len(here.seen.bodies)) == (1, 1)
    assert proxy.seen.headers[0]["Host"] == "judge.invalid"


def test_a_known_verdict_that_is_neither_met_nor_not_met_is_asked_for_again(
    tmp_path: Path,
) -> None:
    cache = tmp_path / "cache.sqlite"
    with FakeEndpoint() as endpoint:
        (once,) = ask(config(endpoint.url, cache=cache), job(1))
        with closing(sqlite3.connect(cache)) as connection, connection:
            connection.execute("UPDATE verdicts SET verdict = ?", ['{"value": 0.5, "reason": ""}'])
        (again,) = ask(config(endpoint.url, cache=cache), job(1))
        (known,) = ask(config(endpoint.url, cache=cache), job(1))
    assert (again.value, again.usage.cached) == (once.value, False)
    assert known.usage.cached
