"""What the words of a server mean, in whatever shape and beside whatever status they come."""

from __future__ import annotations

import json
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rvpo.judge.worker.finish import Finish
from rvpo.judge.worker.refusal import Refusal
from rvpo.judge.worker.reply import CallFailed, NotCompleted, Reply, read_reply

RATES = [
    "rate_limit_exceeded", "RateLimitError", "rate_limited", "TooManyRequests",
    "ThrottlingException", "RESOURCE_EXHAUSTED", "too_many_requests",
]  # fmt: skip
OUTAGES = ["overloaded_error", "ServiceUnavailable", "server_busy", "engine_overloaded", "503"]
RATE_WORDS = [
    "Rate limit reached", "Too many requests, please slow down", "You are being rate limited.",
    "Request was throttled. Expected available in 2 seconds.", "Resource has been exhausted",
]  # fmt: skip
OUTAGE_WORDS = [
    "The server is overloaded", "Service temporarily unavailable", "Try again later.",
    "The engine is busy", "Please retry in 2s", "502 Bad Gateway",
]  # fmt: skip

Shape = Callable[[Any, str], Any]
SHAPES: list[Shape] = [
    lambda code, words: {"error": {"code": code, "message": words}},
    lambda code, words: {"error": {"type": code, "message": words}},
    lambda code, words: [{"error": {"status": code, "message": words}}],
    lambda code, words: {"object": "error", "message": words, "type": code},
    lambda code, words: {"success": False, "code": code, "msg": words},
    lambda code, words: {"detail": words, "status_code": code},
    lambda code, words: {"detail": {"error": {"statusCode": code, "error_msg": words}}},
    lambda code, words: {"errors": [{"extensions": {"code": code}, "message": words}]},
    lambda code, words: {"base_resp": {"status_code": code, "status_msg": words}, "choices": None},
    lambda code, words: {"id": "1", "choices": [], "error": {"details": [{"reason": code}]}},
    lambda code, words: {"__type": code, "Message": words},
]
WORDS_ONLY: list[Callable[[str], bytes]] = [
    lambda words: words.encode(),
    lambda words: f"<html><title>{words}</title></html>".encode(),
    lambda words: json.dumps(words).encode(),
    lambda words: json.dumps({"error": words}).encode(),
    lambda words: json.dumps({"error": {"message": words, "code": "1302"}}).encode(),
    lambda words: json.dumps([words]).encode(),
    lambda words: json.dumps({"choices": None, "msg": words, "code": 1}).encode(),
]
DENIED = st.sampled_from([400, 401, 403, 404, 422])


def read(body: bytes) -> Reply:
    return read_reply(body, lambda text: text)


@settings(deadline=None)
@given(
    shape=st.sampled_from(SHAPES),
    code=st.one_of(st.sampled_from([429, "429", 503, 500, 529]), st.sampled_from(RATES + OUTAGES)),
    words=st.sampled_from(["", "No.", "Something."]),
    status=DENIED,
)
def test_a_bad_minute_is_known_by_its_code_wherever_it_stands(
    shape: Shape, code: Any, words: str, status: int
) -> None:
    body = json.dumps(shape(code, words)).encode()
    means_rate = code in (429, "429", *RATES)
    refusal = Refusal.read(body)
    assert (refusal.status == 429) == (refusal.status_beside(status) == 429) == means_rate
    assert means_rate or ((refusal.status or 0) >= 500 and refusal.status_beside(status) >= 500)
    with pytest.raises(NotCompleted, match=f"http {refusal.status}"):
        read(body)


@settings(deadline=None)
@given(
    body=st.sampled_from(WORDS_ONLY),
    words=st.sampled_from(RATE_WORDS + OUTAGE_WORDS),
    status=DENIED,
)
def test_a_bad_minute_is_known_by_its_words(
    body: Callable[[str], bytes], words: str, status: int
) -> None:
    refusal = Refusal.read(body(words))
    expected = 429 if words in RATE_WORDS else 503
    assert (refusal.status, refusal.status_beside(status)) == (expected, expected)


@pytest.mark.parametrize(
    ("status", "message"),
    [
        (401, "Incorrect API key provided; your rate limit is that of unknown users."),
        (404, "The model `x` does not exist or is currently unavailable to you."),
        (400, "max_tokens is over 4096"),
        (402, "You have used up your included credits."),
        (403, "The question was moderated."),
        (413, "Request too large: the rate limit is 6000 tokens a minute."),
    ],
)
def test_a_denial_stays_one_whatever_it_mentions(status: int, message: str) -> None:
    for body in (message, json.dumps({"error": {"message": message, "code": None}})):
        assert Refusal.read(body.encode()).status_beside(status) == status


def test_the_words_of_a_question_or_an_answer_are_not_the_servers() -> None:
    echoed = {"detail": [{"msg": "Field required", "input": {"text": "rate limit exceeded"}}]}
    assert Refusal.read(json.dumps(echoed).encode()).status_beside(422) == 422
    answer = {"choices": [{"message": {"content": "too many requests"}}], "error": {"code": 400}}
    assert Refusal.read(json.dumps(answer).encode()).status == 400


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(["error", "choices", "message", "detail", "code", "success", "content"])
            | st.text(max_size=5),
            inner,
            max_size=4,
        )
    ),
    max_leaves=12,
)


@settings(deadline=None)
@given(value=json_values, status=st.integers(400, 599))
def test_any_body_is_a_completion_or_a_bad_minute_or_failed(value: Any, status: int) -> None:
    body = json.dumps(value).encode()
    with suppress(NotCompleted, CallFailed):
        assert isinstance(read(body), Reply)
    assert 400 <= Refusal.read(body).status_beside(status) < 600


def completion(**choice: Any) -> dict[str, Any]:
    return {"choices": [{"message": {"content": '{"met": true}'}, **choice}]}


def spelt(end: str) -> st.SearchStrategy[str]:
    return st.sampled_from([end, end.upper(), end.replace("_", "-"), f"FINISH_REASON_{end}"])


WHOLE = ["stop", "eos", "eos_token", "end_turn", "stop_sequence", "completed"]
CUT = ["length", "max_tokens", "model_length", "max_output_tokens"]


@settings(deadline=None)
@given(end=st.one_of(st.none(), st.just(""), *(spelt(end) for end in WHOLE + CUT)))
def test_an_answer_ends_in_one_of_the_known_ways(end: str | None) -> None:
    found = read(json.dumps(completion(finish_reason=end)).encode())
    assert found.cut == any(name in (end or "").lower().replace("-", "_") for name in CUT)
    assert read(json.dumps(completion()).encode()).cut is False


@settings(deadline=None)
@given(
    end=st.one_of(
        st.sampled_from(["SAFETY", "sensitive", "RECITATION", "tool_calls", "function_call",
                         "content_filter", "PROHIBITED_CONTENT", "SPII", "refusal", "OTHER"]),
        st.from_regex(r"[a-z]{3,9}_[a-z]{3,9}", fullmatch=True),
        st.text(min_size=1).filter(str.strip),
        st.integers(), st.booleans(), st.lists(st.integers(), max_size=2),
    )
)  # fmt: skip
def test_any_other_end_is_none_of_an_answer(end: Any) -> None:
    finish = Finish.read(completion(finish_reason=end), {"finish_reason": end})
    if isinstance(end, str) and finish.completed:
        known = [*WHOLE, *CUT, "none", "null", "stopped", "end", "complete", "done", "finished"]
        assert any(name in end.lower() for name in known)
        return
    assert not finish.completed
    assert finish.reason.isprintable()
    assert len(finish.reason) < 60
    with pytest.raises((CallFailed, NotCompleted)) as raised:
        read(json.dumps(completion(finish_reason=end)).encode())
    assert (raised.type is NotCompleted) == finish.failed


@pytest.mark.parametrize(
    "end",
    ["error", "abort", "insufficient_system_resource", "network_error", "cancelled", "failed"],
)
def test_an_end_by_a_fault_is_a_bad_minute(end: str) -> None:
    with pytest.raises(NotCompleted, match=f"finish reason {end}"):
        read(json.dumps(completion(finish_reason=end)).encode())


@pytest.mark.parametrize(
    ("told", "reason"),
    [
        ({"choice": {"content_filter_results": {"hate": {"filtered": True}}}}, "filtered"),
        ({"choice": {"safety_ratings": [{"blocked": True}]}}, "filtered"),
        ({"prompt_filter_results": [{"a": {"violence": {"filtered": True}}}]}, "filtered"),
        ({"prompt_feedback": {"block_reason": "SAFETY"}}, "filtered"),
        ({"choice": {"native_finish_reason": "SAFETY"}}, "native_finish_reason SAFETY"),
        ({"choice": {"stop_reason": "refusal"}}, "stop_reason refusal"),
        ({"status": "incomplete"}, "status incomplete"),
    ],
)
def test_a_filter_that_took_something_leaves_no_verdict(told: dict[str, Any], reason: str) -> None:
    value = completion(finish_reason="stop", **told.pop("choice", {})) | told
    with pytest.raises(CallFailed) as failed:
        read(json.dumps(value).encode())
    assert failed.value.failure.reason == reason


def test_a_filter_that_took_nothing_leaves_the_verdict() -> None:
    results = {"hate": {"filtered": False, "severity": "safe"}, "jailbreak": {"detected": True}}
    value = completion(finish_reason="stop", stop_reason=None, content_filter_results=results)
    assert read(json.dumps(value | {"status": "completed"}).encode()).text == '{"met": true}'
