"""Servers that answer all questions but for one kind of misbehaviour each."""

from __future__ import annotations

import asyncio
import hashlib
import json
import re
from collections import Counter
from collections.abc import Callable, Mapping
from typing import Any, Final

from tests.judge.raw import Behaviour, Wire, http, reply
from tests.judge.server import completion, is_met, verdict

Body = dict[str, Any]
Answering = Callable[[Body], bytes]


def text_of(body: Body) -> str:
    text: str = body["messages"][-1]["content"]
    return text


def lie(body: Body, **changes: Any) -> Body:
    """A completion that says the opposite of the truth."""
    return {**completion(verdict(not is_met(text_of(body)))), **changes}


def is_one_in(share: int, body: Body) -> bool:
    """Whether a question is one of those that are treated so, always the same."""
    item = re.findall(r"item-\d+", text_of(body))[-1]
    return hashlib.sha256(b"share " + item.encode()).digest()[0] % share == 0


def http_json(value: Any, status: str = "200 OK") -> bytes:
    return http(json.dumps(value).encode(), status)


def denies_some(status: str) -> Answering:
    return lambda body: http(b"", status) if is_one_in(40, body) else reply(body)


def refuses_schemas(status: str) -> Answering:
    return lambda body: http(b"", status) if "response_format" in body else reply(body)


def lies_to_some(answer: Callable[[Body], bytes]) -> Answering:
    return lambda body: answer(body) if is_one_in(10, body) else reply(body)


def fails_at_first(answer: bytes, seconds: float = 1.0) -> Answering:
    """For a while after the first call, every call gets the same answer."""
    began: list[float] = []

    def answering(body: Body) -> bytes:
        now = asyncio.get_running_loop().time()
        began.append(now)
        return answer if now < began[0] + seconds else reply(body)

    return answering


def created(body: Body) -> bytes:
    return reply(body).replace(b"200 OK", b"201 Created", 1)


def ended(value: Body, finish_reason: str) -> Body:
    value["choices"][0]["finish_reason"] = finish_reason
    return value


def filtered(body: Body) -> bytes:
    return http_json(ended(lie(body), "content_filter"))


def refused(body: Body) -> bytes:
    value = lie(body)
    value["choices"][0]["message"]["refusal"] = "I will not."
    return http_json(value)


def doubled(body: Body) -> bytes:
    return http_json(lie(body, choices=lie(body)["choices"] * 2))


def by_another(body: Body) -> bytes:
    return http_json({**completion(verdict(is_met(text_of(body)))), "model": "another"})


def kept(answer: Answering, calls: Counter[str], latency_s: float = 0.02) -> Behaviour:
    """Answers question after question on each connection, which it never closes."""

    async def behave(wire: Wire) -> None:
        while (body := await wire.question()) is not None:
            calls["calls"] += 1
            await asyncio.sleep(latency_s)
            await wire.say(answer(body))

    return behave


def twice(calls: Counter[str]) -> Behaviour:
    async def behave(wire: Wire) -> None:
        while (body := await wire.question()) is not None:
            calls["calls"] += 1
            await wire.say(reply(body))
            await asyncio.sleep(0.02)
            await wire.say(reply(body))

    return behave


def early(calls: Counter[str]) -> Behaviour:
    """On one connection in ten a verdict comes before the question."""

    async def behave(wire: Wire) -> None:
        calls["connections"] += 1
        if calls["connections"] % 10 == 0:
            await wire.say(http_json(completion(verdict(calls["connections"] % 20 == 0))))
        while (body := await wire.question()) is not None:
            calls["calls"] += 1
            await asyncio.sleep(0.02)
            await wire.say(reply(body))

    return behave


_OVERLOADED: Final = {"error": {"code": 429, "message": "slow down"}}
_EMPTY: Final = completion("")
_FAILED: Final = completion("", "error")

ANSWERS: Final[Mapping[str, Callable[[], Answering]]] = {
    "nothing wrong": lambda: reply,
    **{
        f"{s} for one question in 40": lambda s=s: denies_some(f"{s} No")
        for s in (401, 402, 403, 404)
    },
    "200 with an error 429, for a second": lambda: fails_at_first(http_json(_OVERLOADED)),
    "finish_reason error, for a second": lambda: fails_at_first(http_json(_FAILED)),
    "empty content, for a second": lambda: fails_at_first(http_json(_EMPTY)),
    **{
        f"response_format refused with {s}, no body": lambda s=s: refuses_schemas(f"{s} No")
        for s in (404, 405, 415, 500, 503)
    },
    **{
        f"{text}, for a second": lambda text=text, status=status: fails_at_first(
            http(text.encode(), status)
        )
        for text, status in (
            ('{"error": "Too many requests"}', "200 OK"),
            ('{"choices": []}', "200 OK"),
            ("<html>Please wait", "200 OK"),
            ('{"error": {"code": "rate_limit_exceeded"}}', "403 No"),
        )
    },
    "201": lambda: created,
    "content_filter beside a lie, one in 10": lambda: lies_to_some(filtered),
    "error beside a lie, one in 10": lambda: lies_to_some(
        lambda body: http_json(lie(body, error={"message": "no"}))
    ),
    "finish_reason SAFETY beside a lie, one in 10": lambda: lies_to_some(
        lambda body: http_json(ended(lie(body), "SAFETY"))
    ),
    "refusal beside a lie, one in 10": lambda: lies_to_some(refused),
    "two choices that lie, one in 10": lambda: lies_to_some(doubled),
    "another model": lambda: by_another,
}
"""One reply to each question, by what is wrong."""

CONNECTIONS: Final[Mapping[str, Callable[[Counter[str]], Behaviour]]] = {
    "a reply twice, 20 ms apart": twice,
    "a verdict before the question, one connection in 10": early,
}
"""What else comes over a connection."""


def behaviours() -> dict[str, Callable[[Counter[str]], Behaviour]]:
    """All of them by name; each counts the calls that it gets."""
    found: dict[str, Callable[[Counter[str]], Behaviour]] = {}
    for name, make in ANSWERS.items():
        found[name] = lambda calls, make=make: kept(make(), calls)
    return found | dict(CONNECTIONS)
