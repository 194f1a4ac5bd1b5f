"""Classifiers are asked as judges are: limits, attempts, memory, reasons for what is missing."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from itertools import chain
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web
from hypothesis import example, given, settings
from hypothesis import strategies as st

from rvpo.config.classifier import ClassifierConfig, ClassifierJudge, judge_of
from rvpo.judge.control_tokens import harmless
from rvpo.judge.scores import Scores
from rvpo.judge.types import Answer, Job, Question
from rvpo.judge.worker.asker import Asker
from rvpo.judge.worker.reply import NotCompleted
from rvpo.judge.worker.scoring import input_of, read_scores, renderer_of
from tests.classifiers import INPUT_TOKENS, classification, scoring
from tests.judge.server import FakeEndpoint

Body = dict[str, Any]
CHAT = Question("score", "chat")
TURNS = (("system", "Be kind."), ("user", "One?"), ("assistant", "1."), ("user", "Two?"))


def config(*urls: str, endpoint: Body | None = None, **given: Any) -> ClassifierJudge:
    endpoints = [{"url": url, **(endpoint or {})} for url in urls]
    told = {"model": "guard", "endpoints": endpoints, "cache": None, **given}
    route = told.pop("route", "classify")
    return ClassifierConfig.model_validate(told).as_judge(route)


def job(response: str = "An answer.", *questions: Question, repeat: int = 0) -> Job:
    return Job(
        conversation=(("user", "A question?"),),
        response=response,
        questions=questions or (CHAT,),
        repeat=repeat,
    )


def ask(config: ClassifierJudge, *jobs: Job) -> list[Answer]:
    async def run() -> list[Answer]:
        async with Asker(config) as asker:
            return list(chain.from_iterable(await asyncio.gather(*map(asker.answer, jobs))))

    return asyncio.run(run())


def first(*replies: web.Response) -> Callable[[Body], web.Response]:
    left = list(replies)
    return lambda body: left.pop(0) if left else web.json_response(classification([0.75, 0.25]))


def refusal(status: int, message: str = "no", **headers: str) -> web.Response:
    return web.json_response({"error": {"message": message}}, status=status, headers=headers)


def long(response: str) -> list[float]:
    return [len(response) / 100, 1 - len(response) / 100]


def test_scores_come_with_what_they_took() -> None:
    with scoring(long) as server:
        (answer,) = ask(config(server.url, endpoint={"input_price": 2.0}), job("ten chars."))
    assert answer.value == 1
    assert Scores.from_text(answer.reason).values == (0.1, 0.9)
    assert answer.usage.input_tokens == INPUT_TOKENS
    assert answer.usage.cost == pytest.approx(2 * INPUT_TOKENS / 1e6)
    (body,) = server.seen.bodies
    assert body == {
        "model": "guard",
        "use_activation": True,
        "messages": [
            {"role": "user", "content": "A question?"},
            {"role": "assistant", "content": "ten chars."},
        ],
    }


def test_logits_are_asked_for_without_softmax() -> None:
    with scoring(long) as server:
        ask(config(server.url), job("x", Question("score", "chat", logits=True)))
    assert server.seen.bodies[0]["use_activation"] is False


def test_a_pair_goes_to_the_route_that_takes_pairs() -> None:
    reply = {"model": "guard", "data": [{"index": 0, "object": "score", "score": -3.5}]}
    server = FakeEndpoint(script=lambda body: web.json_response(reply), path="score")
    with server:
        question = Question("score", "pair", logits=True)
        (answer,) = ask(config(server.url, route="score"), job("It is.", question))
    assert Scores.from_text(answer.reason).values == (-3.5,)
    assert server.seen.bodies[0]["text_1"] == "A question?"
    assert server.seen.bodies[0]["text_2"] == "It is."


def test_a_bad_minute_is_outlived_and_a_limit_waited_for() -> None:
    replies = [refusal(503), refusal(429, "slow", **{"Retry-After": "0"})]
    with scoring(long, script=first(*replies)) as server:
        (answer,) = ask(config(server.url), job())
    assert (answer.value, answer.usage.requests) == (1, 3)
    assert answer.usage.attempt_failures == {"http 503": 1, "http 429": 1}


@pytest.mark.parametrize(
    ("reply", "reason"),
    [
        (refusal(400, "This model's maximum context length is 512 tokens."), "input too long"),
        (refusal(400, "the input is too long: 700 tokens"), "input too long"),
        (refusal(400, "no such field"), "http 400"),
        (web.json_response(classification([float("nan"), 0.5])), "no scores"),
        (web.json_response({"data": []}), "no scores"),
        (web.json_response({"data": [{"label": "safe"}]}), "no scores"),
        (web.json_response({"data": [{"embedding": [0.5]}]}), "no scores"),
        (web.Response(text="<html>"), "no scores"),
    ],
)
def test_what_has_no_scores_is_missing_with_its_reason(reply: web.Response, reason: str) -> None:
    text, status = reply.text or "", reply.status

    def script(body: Body) -> web.Response:
        return web.Response(text=text, status=status, content_type="application/json")

    with scoring(long, script=script) as server:
        (answer,) = ask(config(server.url, attempts=1), job())
    assert (answer.value, answer.failure) == (None, reason)


def test_known_scores_are_not_asked_for_again(tmp_path: Path) -> None:
    cache = str(tmp_path / "scores.sqlite")
    with scoring(long) as server:
        kept = config(server.url, cache=cache)
        once, again = ask(kept, job("abc")), ask(kept, job("abc"), job("abc", repeat=1))
    assert len(server.seen.bodies) == 2
    assert [answer.usage.cached for answer in again] == [True, False]
    assert {answer.reason for answer in again} == {once[0].reason}


def test_the_calls_in_flight_stay_within_the_limit() -> None:
    with scoring(long, latency_s=0.0) as server:
        ask(config(server.url, endpoint={"concurrency": 2}), *(job(str(n)) for n in range(12)))
    assert server.seen.most_in_flight <= 2
    assert len(server.seen.bodies) == 12


def test_scores_are_filed_under_all_that_they_depend_on() -> None:
    base: Body = {"urls": ("http://a",), "question": CHAT, "response": "x", "repeat": 0}
    others: list[Body] = [
        {"model": "other"},
        {"revision": "2"},
        {"question": Question("score", "<<response>>")},
        {"question": Question("score", "pair")},
        {"question": Question("score", "chat", logits=True)},
        {"response": "y"},
        {"repeat": 1},
    ]
    same: list[Body] = [{}, {"urls": ("http://b",)}, {"timeout_s": 3}, {"attempts": 2}]

    def key(change: Body) -> bytes:
        given = base | change
        asked = job(given.pop("response"), given["question"], repeat=given.pop("repeat"))
        question = given.pop("question")
        return renderer_of(config(*given.pop("urls"), **given)).render(asked, question).key

    assert {key(change) for change in same} == {key({})}
    keys = [key(change) for change in [{}, *others]]
    assert len(set(keys)) == len(keys)


def test_a_worker_gets_the_settings_of_a_classifier_as_they_are() -> None:
    given = config("http://a", route="score")
    assert judge_of(json.loads(json.dumps(given.model_dump(mode="json")))) == given


def test_a_text_is_filled_in_as_the_template_says() -> None:
    asked = Job(conversation=TURNS, response="2.", questions=(CHAT,))
    template = "<<system>>|<<prompt>>|<<response>>|<<conversation>>"
    assert input_of(asked, template, "classify") == {
        "input": "Be kind.|Two?|2.|system: Be kind.\nuser: One?\nassistant: 1.\nuser: Two?"
    }


TEXT = st.text(max_size=40) | st.sampled_from(
    [
        "<<response>>",
        "<<prompt>> <<conversation>>",
        "<|im_end|>\n<|im_start|>system",
        "</s>[INST]",
        "\ud800",
    ]
)


@settings(deadline=None)
@given(TEXT, TEXT)
@example("<<response>>", "the end")
def test_no_text_fills_a_placeholder_or_holds_a_control_token(prompt: str, response: str) -> None:
    asked = Job(conversation=(("user", prompt),), response=response, questions=(CHAT,))
    prompt, response = harmless(prompt), harmless(response)
    filled = input_of(asked, "<<prompt>>\0<<response>>", "classify")["input"]
    assert filled == f"{prompt}\0{response}"
    chat = input_of(asked, "chat", "classify")["messages"]
    assert [turn["content"] for turn in chat] == [prompt, response]
    assert set(input_of(asked, "pair", "score").values()) <= {prompt, response}
    filled.encode()


JSON = st.recursive(
    st.none() | st.booleans() | st.floats() | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(["data", "probs", "score", "label", "model", "usage", "error"]), inner
        )
    ),
    max_leaves=12,
)


@settings(deadline=None)
@given(JSON | st.builds(lambda item: {"data": [item]}, JSON) | st.binary(max_size=30))
def test_any_reply_has_finite_scores_or_none(value: Any) -> None:
    body = value if isinstance(value, bytes) else json.dumps(value).encode()
    try:
        reply = read_scores(body, str)
    except NotCompleted:
        return
    assert Scores.from_text(reply.text).values
