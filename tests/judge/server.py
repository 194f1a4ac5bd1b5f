"""A chat endpoint on loopback that answers as told, and fails as told.

Whether a criterion is met is a function of its text (`is_met`), so a wrong verdict can be told.
Every fault is counted under the reason that a client has to count it under. Run as a program it is
a process of its own: `python -m tests.judge.server '{"latency_s": 0.05}'` prints its address, and
what it saw when its standard input ends.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import random
import re
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

from aiohttp import web

from rvpo.judge.reply_object import Unreadable
from rvpo.judge.types import Question
from rvpo.judge.verdict import read
from tests.judge.sheets import criteria, verdicts

INPUT_TOKENS, OUTPUT_TOKENS = 100, 20


def criterion(number: int) -> str:
    """A criterion that the endpoint knows again in any prompt."""
    return f"The answer mentions item-{number}."


def is_met(text: str) -> bool:
    """The true verdict on the criterion that a text names last."""
    item = re.findall(r"item-\d+", text)[-1]
    return bool(hashlib.sha256(item.encode()).digest()[0] % 2)


@dataclass(frozen=True, slots=True, kw_only=True)
class Faults:
    """The share of calls that meet each fault; at most one meets a call."""

    server_error: float = 0.0
    hang: float = 0.0
    malformed: float = 0.0
    drop: float = 0.0
    drip: float = 0.0
    drip_status: int = 200
    storm: float = 0.0
    """The share of calls that begin a storm of 429, which meets all calls while it lasts."""
    storm_s: float = 0.5
    retry_after: str = "1"


@dataclass(slots=True)
class Seen:
    """What the endpoint saw and did."""

    failures: Counter[str] = field(default_factory=Counter)
    """Calls that were made to fail, by the reason a client should count."""
    arrivals: list[float] = field(default_factory=list)
    """When each call came, on the monotonic clock."""
    bodies: list[dict[str, Any]] = field(default_factory=list)
    headers: list[dict[str, str]] = field(default_factory=list)
    in_flight: int = 0
    most_in_flight: int = 0
    answered: Counter[str] = field(default_factory=Counter)
    """Verdicts given, by criterion."""


Script = Callable[[dict[str, Any]], web.StreamResponse | None]


def completion(
    text: Any, finish_reason: str = "stop", usage: dict[str, Any] | None = None
) -> dict[str, Any]:
    return {
        "choices": [{"message": {"content": text}, "finish_reason": finish_reason}],
        "usage": usage or {"prompt_tokens": INPUT_TOKENS, "completion_tokens": OUTPUT_TOKENS},
    }


class FakeEndpoint:
    """Used as a context it listens on a thread of its own; at `url`, as `seen`.

    Args:
        faults: what goes wrong, drawn for each call from `seed`.
        latency_s: of a good answer; a function of a random generator for one that varies.
        truth: the verdict on what the judge is shown.
        port: to listen on; any free one if 0.
        script: answers a call in its own way, or leaves it to the rest by returning None.
        keep_bodies: remember every request, which takes memory.
        path: of the route, below `url`.
    """

    def __init__(
        self,
        faults: Faults | None = None,
        *,
        seed: int = 0,
        latency_s: float | Callable[[random.Random], float] = 0.0,
        truth: Callable[[str], bool] = is_met,
        port: int = 0,
        script: Script | None = None,
        keep_bodies: bool = True,
        path: str = "chat/completions",
    ) -> None:
        self.faults = faults or Faults()
        self.seen = Seen()
        self.url = ""
        self._random = random.Random(seed)
        self._latency_s = latency_s
        self._truth = truth
        self._port = port
        self._script = script
        self._keep_bodies = keep_bodies
        self._path = path
        self._storm_until = 0.0

    def __enter__(self) -> FakeEndpoint:
        started = threading.Event()
        self._thread = threading.Thread(target=lambda: asyncio.run(self._run(started)))
        self._thread.start()
        started.wait()
        return self

    def __exit__(self, *_: object) -> None:
        self._loop.call_soon_threadsafe(self._stop.set)
        self._thread.join()

    async def _run(self, started: threading.Event) -> None:
        self._loop = asyncio.get_running_loop()
        self._stop = asyncio.Event()
        runner = await self.start()
        started.set()
        await self._stop.wait()
        await runner.cleanup()

    async def start(self) -> web.AppRunner:
        """Listen in the running loop."""
        app = web.Application(client_max_size=2**26)
        app.router.add_post(f"/v1/{self._path}", self._handle)
        runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
        await runner.setup()
        site = web.TCPSite(runner, "127.0.0.1", self._port, backlog=4096)
        await site.start()
        self.url = f"http://127.0.0.1:{runner.addresses[0][1]}/v1"
        return runner

    async def _handle(self, request: web.Request) -> web.StreamResponse:
        seen = self.seen
        seen.arrivals.append(time.monotonic())
        seen.in_flight += 1
        seen.most_in_flight = max(seen.most_in_flight, seen.in_flight)
        try:
            raw = await request.read()
            body = json.loads(raw)
            if self._keep_bodies:
                seen.bodies.append(body)
                seen.headers.append(dict(request.headers))
            scripted = self._script(body) if self._script is not None else None
            if scripted is not None:
                return scripted
            faulty = await self._fault(request, body)
            return faulty if faulty is not None else await self._good(body)
        finally:
            seen.in_flight -= 1

    async def _good(self, body: dict[str, Any]) -> web.StreamResponse:
        latency_s = self._latency_s
        delay = latency_s if isinstance(latency_s, float) else latency_s(self._random)
        if delay:
            await asyncio.sleep(delay)
        text = body["messages"][-1]["content"]
        asked = criteria(body)
        for each in asked.values() or (text,):
            self.seen.answered.update(re.findall(r"item-\d+", each)[-1:])
        said = verdicts(body, self._truth) if asked else verdict(self._truth(text))
        return web.json_response(completion(said))

    async def _fault(self, request: web.Request, body: dict[str, Any]) -> web.StreamResponse | None:
        """Make a call fail, if it shall. What a failing call says is the opposite of the truth."""
        faults = self.faults
        draw = self._random.random()
        now = time.monotonic()
        if draw < faults.storm:
            self._storm_until = max(self._storm_until, now + faults.storm_s)
        if now < self._storm_until:
            self.seen.failures["http 429"] += 1
            return web.Response(status=429, headers={"Retry-After": faults.retry_after})
        lie = verdict(not self._truth(body["messages"][-1]["content"]))
        draw -= faults.storm
        for share, fault in (
            (faults.server_error, self._server_error),
            (faults.hang, self._hang),
            (faults.malformed, self._malformed),
            (faults.drop, self._drop),
            (faults.drip, self._drip),
        ):
            if 0 <= draw < share:
                return await fault(request, lie)
            draw -= share
        return None

    async def _server_error(self, request: web.Request, lie: str) -> web.StreamResponse:
        status = self._random.choice((500, 502, 503, 529))
        self.seen.failures[f"http {status}"] += 1
        return web.json_response(completion(lie), status=status)

    async def _hang(self, request: web.Request, lie: str) -> web.StreamResponse:
        self.seen.failures["timeout"] += 1
        while request.transport is not None and not request.transport.is_closing():
            await asyncio.sleep(0.05)
        return web.json_response(completion(lie))

    async def _malformed(self, request: web.Request, lie: str) -> web.StreamResponse:
        kind = self._random.choice(("truncated", "cut off", "prose", "text", "empty"))
        if kind == "cut off":
            self.seen.failures["no completion"] += 1
            text = json.dumps(completion(lie))
            return web.Response(text=text[: len(text) // 2], content_type="application/json")
        if kind == "truncated":
            self.seen.failures["truncated"] += 1
            return web.json_response(completion(lie[: lie.index('"met":') + 9], "length"))
        word = re.sub(r".*: (true|false).*", r"\1", lie)
        text = {
            "prose": f"I would say {word}.",
            "text": lie.replace(word, '"perhaps"'),
            "empty": "",
        }[kind]
        self.seen.failures[unreadable(text)] += 1
        return web.json_response(completion(text))

    async def _drop(self, request: web.Request, lie: str) -> web.StreamResponse:
        self.seen.failures["connection"] += 1
        response = web.StreamResponse(headers={"Content-Length": "1000"})
        if self._random.random() < 0.5:
            await response.prepare(request)
            await response.write(json.dumps(completion(lie)).encode())
        if request.transport is not None:
            request.transport.close()
        return response

    async def _drip(self, request: web.Request, lie: str) -> web.StreamResponse:
        self.seen.failures["timeout"] += 1
        response = web.StreamResponse(status=self.faults.drip_status)
        with suppress(ConnectionError):
            await response.prepare(request)
            for byte in b" " * 10_000 + json.dumps(completion(lie)).encode():
                if request.transport is None or request.transport.is_closing():
                    break
                await response.write(bytes((byte,)))
                await asyncio.sleep(0.05)
        return response


def verdict(met: bool, reason: str = "It says so.") -> str:
    return json.dumps({"reason": reason, "met": met})


def unreadable(text: str) -> str:
    """The reason a client gives for not reading a text."""
    try:
        read(Question("criterion", ""), text)
    except Unreadable as error:
        return str(error)
    raise AssertionError(f"{text!r} is readable")


async def main(options: dict[str, Any]) -> None:
    faults = Faults(**options.pop("faults", {}))
    endpoint = FakeEndpoint(faults, keep_bodies=False, **options)
    runner = await endpoint.start()
    print(json.dumps({"url": endpoint.url}), flush=True)
    await asyncio.to_thread(sys.stdin.read)
    await runner.cleanup()
    seen = endpoint.seen
    print(
        json.dumps(
            {
                "failures": seen.failures,
                "calls": len(seen.arrivals),
                "most_in_flight": seen.most_in_flight,
                "asked_twice": sum(count > 1 for count in seen.answered.values()),
            }
        )
    )


if __name__ == "__main__":
    asyncio.run(main(json.loads(sys.argv[1])))
