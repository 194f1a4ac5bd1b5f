"""Whatever a server does with bytes and time, a verdict is the one it meant for that question.

Each connection's misbehaviour follows from its number and a seed. RVPO_FUZZ_HTTP says how many
questions are asked.
"""

from __future__ import annotations

import asyncio
import gzip
import itertools
import json
import os
import random
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from rvpo.judge.types import Answer
from tests.judge.misbehaving import lie, text_of
from tests.judge.raw import Behaviour, RawServer, Wire, http
from tests.judge.server import completion, criterion, is_met, verdict
from tests.judge.worker.test_asker import ask, config, job

QUESTIONS = int(os.environ.get("RVPO_FUZZ_HTTP", "300"))
DEADLINE_S = 6.0

STATUSES = ["200 OK"] * 8 + [
    "201 Created", "204 No Content", "206 Part", "301 Moved", "304 Same", "307 Moved", "400 No",
    "401 No", "403 No", "404 No", "408 Late", "409 No", "413 Big", "418 Tea", "422 No", "429 Slow",
    "451 No", "500 Oops", "501 No", "502 Bad", "503 Busy", "504 Late", "529 Busy", "999 What",
]  # fmt: skip
HEADERS = [
    "Retry-After: 0", "Retry-After: soon", "Location: http://127.0.0.1:1/", "X: " + "y" * 5000,
    "Content-Encoding: gzip", "Content-Type: text/html", "Connection: close", "Set-Cookie: a=b",
    "Transfer-Encoding: chunked", "Content-Length: 7", "Trailer: X",
]  # fmt: skip

NO_ENDS = [
    "error", "content_filter", "SAFETY", "sensitive", "RECITATION", "tool_calls", "abort", "x", 7,
]  # fmt: skip
NO_COMPLETIONS: list[Any] = [
    {"error": "Too many requests"}, [{"error": {"code": 503}}], {"detail": "Overloaded"}, "later",
    {"choices": None}, {"choices": []}, {"choices": [{"message": None}]}, None, {"error": {}},
]  # fmt: skip


def truth(body: dict[str, Any], chance: random.Random) -> dict[str, Any]:
    """A reply that means its verdict."""
    found = completion(verdict(is_met(text_of(body))))
    return found | chance.choice([{}, {}, {"model": "judge"}, {"model": "another"}, {"id": "7"}])


def no_verdict(body: dict[str, Any], chance: random.Random) -> bytes:
    """A body in which a verdict is said, and is not meant: the opposite of the truth."""
    value = lie(body)
    choice = value["choices"][0]
    text = json.dumps(value).encode()
    match chance.randrange(12):
        case 0:
            choice["finish_reason"] = chance.choice(NO_ENDS)
        case 9:
            choice["content_filter_results"] = {"hate": {"filtered": True}}
        case 10:
            return json.dumps(chance.choice(NO_COMPLETIONS)).encode()
        case 11:
            value["success"] = False
        case 1:
            choice["message"]["refusal"] = "No."
        case 2:
            value["error"] = {"code": chance.choice([400, 429, 500, "rate_limit", "x"])}
        case 3:
            value["choices"] *= 2
        case 4:
            return text[: chance.randrange(len(text) - 1)]
        case 5:
            return text + text
        case 6:
            choice["message"]["content"] += chance.choice([" Not so.", '{"met": 1}', "{"])
        case 7:
            return chance.randbytes(chance.randrange(200))
        case _:
            return text + b" " * 2**21
    return json.dumps(value).encode()


def damaged(data: bytes, chance: random.Random) -> bytes:
    """A reply whose bytes are not all there, or do not fit together."""
    head, _, content = data.partition(b"\r\n\r\n")
    match chance.randrange(5):
        case 0:
            return data[: chance.randrange(len(data) - 1)]
        case 1:
            head = head.replace(b"Content-Length: ", b"Content-Length: 9")
        case 2:
            head = head.replace(b"Content-Length", b"Transfer-Encoding: chunked\r\nX-Length")
            content = b"zz\r\n" + content
        case 3:
            head = head.replace(b"HTTP/1.1", chance.choice([b"HTTP/9.9", b"ICY", b"\x00", b""]))
        case _:
            head = head.replace(b"\r\n", b"\n\x00", 1)
    return head + b"\r\n\r\n" + content


def encoded(body: bytes, chance: random.Random) -> bytes:
    """The same reply in another form of HTTP."""
    match chance.randrange(4):
        case 0:
            return http(gzip.compress(body), "200 OK", "Content-Encoding: gzip")
        case 1:
            parts = [body[i : i + 50] for i in range(0, len(body), 50)]
            chunks = b"".join(b"%x\r\n%s\r\n" % (len(part), part) for part in (*parts, b""))
            return b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + chunks
        case 2:
            return b"HTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\n" + http(body)
        case _:
            return http(body, chance.choice(["200 OK", "201 Created", "206 Part"]))


async def drip(wire: Wire, data: bytes, chance: random.Random) -> None:
    pause_s = chance.choice([0.001, 0.2])
    for start in range(0, len(data), 40):
        await wire.say(data[start : start + 40])
        await asyncio.sleep(pause_s)


async def answer(wire: Wire, body: dict[str, Any], chance: random.Random) -> None:
    """The reply to one question, as it is meant or as one that means none."""
    meant = json.dumps(truth(body, chance)).encode()
    match chance.randrange(12):
        case 0 | 1:
            await wire.say(encoded(meant, chance))
        case 2:
            await drip(wire, http(meant), chance)
        case 3:
            await wire.say(http(meant) * 2)
        case 4:
            await wire.say(http(meant))
            await asyncio.sleep(chance.choice([0, 0.02, 0.1]))
            await wire.say(http(meant))
        case 5:
            await wire.say(http(meant))
            await asyncio.sleep(chance.choice([0, 0.02, 0.1]))
            await wire.say(http(json.dumps(lie(body)).encode()))
        case 6 | 7:
            await wire.say(http(no_verdict(body, chance)))
        case 8:
            await wire.say(damaged(http(json.dumps(lie(body)).encode()), chance))
        case 9:
            status = chance.choice(STATUSES[8:])
            told = meant if status.startswith("20") else json.dumps(lie(body)).encode()
            extra = chance.sample(HEADERS[:3] + HEADERS[5:8], 2)
            await wire.say(http(told, status, *extra))
        case 10:
            await wire.say(http(chance.randbytes(90), "200 OK", chance.choice(HEADERS)))
        case _:
            await asyncio.sleep(chance.choice([0, 1.0]))


def behaviour(seed: int) -> Behaviour:
    connections = itertools.count()

    async def behave(wire: Wire) -> None:
        chance = random.Random(f"{seed} {next(connections)}")
        before = chance.random()
        if before < 0.05:  # a verdict for nobody
            said = json.dumps(completion(verdict(chance.random() < 0.5))).encode()
            await wire.say(http(said))
        elif before < 0.08:
            await wire.say(chance.randbytes(20))
        elif before < 0.1:
            return
        while (body := await wire.question()) is not None:
            await answer(wire, body, chance)
            if chance.random() < 0.5:
                return

    return behave


def judged(seed: int, cache: Path, count: int) -> tuple[list[Answer], float]:
    with RawServer(behaviour(seed)) as server:
        settings = config(
            server.url, timeout_s=0.7, attempts=4, deadline_s=DEADLINE_S, cache=cache, model="judge"
        )
        started = time.monotonic()
        answers = ask(settings, *(job(number) for number in range(count)))
        return answers, time.monotonic() - started


def wrong(answers: list[Answer], value: Callable[[int], bool]) -> list[int]:
    return [
        number
        for number, found in enumerate(answers)
        if found.value is not None and found.value != value(number)
    ]


def test_a_verdict_is_what_the_server_meant_for_its_question_or_missing(tmp_path: Path) -> None:
    def value(number: int) -> bool:
        return is_met(criterion(number))

    for seed in range(-(-QUESTIONS // 300)):
        cache = tmp_path / f"{seed}.sqlite"
        answers, seconds = judged(seed, cache, 300)
        assert wrong(answers, value) == [], seed
        missing = [found for found in answers if found.value is None]
        assert all(found.failure for found in missing)
        assert len(missing) < len(answers)
        # Every question has its deadline from its first call on, and waits for one as long.
        assert seconds < 3 * DEADLINE_S
        known, _ = judged(seed + 1_000_000, cache, 300)
        assert wrong(known, value) == [], seed
        cached = {number for number, found in enumerate(known) if found.usage.cached}
        assert cached >= {
            number
            for number, found in enumerate(answers)
            if found.value is not None and found.model in ("", "judge")
        }
