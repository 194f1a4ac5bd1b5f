"""A verdict is the reply to its own question, whatever else comes over the connection."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest

from rvpo.judge.types import Answer
from rvpo.judge.worker.connection import open_session
from tests.judge.raw import Behaviour, RawServer, Wire, http, reply
from tests.judge.server import criterion, is_met
from tests.judge.worker.test_asker import ask, config, job

COUNT = 30


def judged(behaviour: Behaviour, cache: Path | None = None, **settings: Any) -> list[Answer]:
    with RawServer(behaviour) as server:
        options = {"attempts": 2, "timeout_s": 5, "cache": cache, **settings}
        # As many at once as come, and others after them.
        judge = config(server.url, endpoint={"concurrency": 10}, **options)
        return ask(judge, *(job(number) for number in range(COUNT)))


def wrong(answers: list[Answer]) -> list[int]:
    return [
        number
        for number, answer in enumerate(answers)
        if answer.value is not None and answer.value != is_met(criterion(number))
    ]


@pytest.mark.parametrize("later_s", [0.0, 0.02, 0.1])
def test_a_reply_that_comes_twice_answers_no_other_question(later_s: float) -> None:
    async def twice(wire: Wire) -> None:
        while (body := await wire.question()) is not None:
            await wire.say(reply(body))
            await asyncio.sleep(later_s)
            await wire.say(reply(body))

    answers = judged(twice)
    assert [answer.failure for answer in answers] == [None] * COUNT
    assert wrong(answers) == []


@pytest.mark.parametrize("stray", [http(b"{}"), b"no HTTP\r\n", b"HTTP/1.1 200 OK\r\n\r\n"])
@pytest.mark.parametrize("is_first", [True, False])
def test_no_verdict_is_read_beside_what_nobody_asked_for(stray: bytes, is_first: bool) -> None:
    async def stray_beside(wire: Wire) -> None:
        if is_first:
            await wire.say(stray)
        while (body := await wire.question()) is not None:
            await wire.say(reply(body))
            await wire.say(stray)

    answers = judged(stray_beside, attempts=1, deadline_s=1.0)
    assert {answer.value for answer in answers} == {None}
    # Bytes that are no HTTP end the connection, and a head that comes with the question begins a
    # reply that has no end.
    assert {answer.failure for answer in answers} <= {"stray reply", "connection", "timeout"}


@pytest.mark.parametrize("latency_s", [0.0, 0.05])
@pytest.mark.parametrize("after_s", [0.0, 0.02, 0.05])
def test_a_verdict_before_its_question_is_none(
    after_s: float, latency_s: float, tmp_path: Path
) -> None:
    questions: list[dict[str, Any]] = []

    async def early(wire: Wire) -> None:
        """Lies about any question it knows of, before it has read the next."""
        await asyncio.sleep(after_s)
        say_first = [reply({"messages": [{"content": criterion(0)}]}, met=met) for met in (0, 1)]
        await wire.say(say_first[len(questions) % 2])
        while (body := await wire.question()) is not None:
            questions.append(body)
            await asyncio.sleep(latency_s)
            await wire.say(reply(body))

    assert wrong(judged(early, tmp_path / "cache.sqlite", deadline_s=1.0)) == []


def test_a_reply_is_whole_when_its_connection_ends() -> None:
    async def until_the_end(wire: Wire) -> None:
        body = await wire.question()
        assert body is not None
        content = reply(body).partition(b"\r\n\r\n")[2]
        await wire.say(b"HTTP/1.1 200 OK\r\n\r\n" + content)
        wire.end()

    answers = judged(until_the_end)
    assert [answer.failure for answer in answers] == [None] * COUNT
    assert wrong(answers) == []


@pytest.mark.parametrize("turns", range(8))
def test_a_call_that_is_given_up_while_it_is_listened_to_closes_its_connection(turns: int) -> None:
    async def given_up() -> bytes:
        opened: asyncio.Queue[tuple[asyncio.StreamReader, asyncio.StreamWriter]] = asyncio.Queue()
        server = await asyncio.start_server(
            lambda reader, writer: opened.put_nowait((reader, writer)), "127.0.0.1", 0
        )
        host, port = server.sockets[0].getsockname()
        async with server, open_session() as session:
            call = asyncio.ensure_future(session.post(f"http://{host}:{port}/", json={}))
            reader, writer = await opened.get()
            for _ in range(turns):
                await asyncio.sleep(0)
            call.cancel()
            # The end of the connection, while the session is still open, and no question before it.
            heard = await asyncio.wait_for(reader.read(), 20)
            writer.close()
            await writer.wait_closed()
        return heard

    assert asyncio.run(given_up()) == b""
