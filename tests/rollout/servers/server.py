"""A vLLM server on loopback whose model is a function, and which fails as told.

Its tokens follow from the prompt, the seed and the version of the weights alone (`completion_of`),
so that every sample of a rollout can be told from a wrong one.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import logging
import math
import random
import threading
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from aiohttp import web

_QUIET = logging.getLogger(__name__)
_QUIET.disabled = True  # it would tell of each connection that was cut

VOCABULARY = 200
"""Tokens of the model, but for those that end a completion."""


@dataclass(frozen=True, slots=True)
class Drawn:
    """A completion of the model."""

    ids: list[int]
    logprobs: list[float]
    finish_reason: str


def completion_of(
    prompt: Sequence[int], seed: int, version: str, stop_ids: Sequence[int], most: int
) -> Drawn:
    """The one completion of a prompt with a seed, by the weights of a version."""
    drawn = random.Random(repr((tuple(prompt), seed, version)))
    length = drawn.randint(1, most + 2)
    usual = [token for token in range(VOCABULARY) if token not in stop_ids]
    ids = drawn.choices(usual, k=min(length, most))
    if length <= most:
        ids[-1] = drawn.choice(list(stop_ids))
    logprobs = [-drawn.random() for _ in ids]
    return Drawn(ids, logprobs, "stop" if length <= most else "length")


@dataclass(frozen=True, slots=True, kw_only=True)
class Faults:
    """The share of requests for samples that meet each fault; at most one meets a request."""

    cut_before_headers: float = 0.0
    cut_after_headers: float = 0.0
    half_a_reply: float = 0.0
    server_error: float = 0.0
    hang: float = 0.0
    too_many: float = 0.0
    """429 with a Retry-After."""
    unavailable: float = 0.0
    """503 with a Retry-After."""
    garbage: float = 0.0
    """A reply that is no JSON."""
    other_form: float = 0.0
    """JSON, and no reply."""
    token_too_few: float = 0.0
    """A log-probability for a token that is not there."""
    logprob_too_few: float = 0.0
    not_a_number: float = 0.0
    """A token without a log-probability, for which vLLM writes -9999."""
    two_choices: float = 0.0
    no_choice: float = 0.0
    aborted: float = 0.0
    cut_short: float = 0.0
    """A completion that ends for its length before it has that."""
    other_version: float = 0.0
    """Tokens that older weights made, and that say so."""
    no_version: float = 0.0

    @classmethod
    def names(cls) -> list[str]:
        """All faults but those in which nothing happens."""
        return [name for name in cls.__dataclass_fields__ if name != "hang"]

    @classmethod
    def passing(cls, share: float) -> Faults:
        """Each fault that a healthy server may show, all together in such a share of requests."""
        names = [name for name in cls.names() if name not in ("other_version", "no_version")]
        return cls(**{name: share / len(names) for name in names})

    def at(self, place: float) -> str:
        """The fault at a place from 0 to 1; empty for none."""
        for name in self.__dataclass_fields__:
            place -= getattr(self, name)
            if place < 0:
                return name
        return ""


@dataclass(slots=True)
class SeenRequests:
    """Record of a server."""

    faults: Counter[str] = field(default_factory=Counter)
    """Requests that met each fault."""
    answered: int = 0
    """Requests for samples that were answered in full."""
    rows: Counter[tuple[tuple[int, ...], int]] = field(default_factory=Counter)
    """Requests for samples, by prompt and seed."""
    tokens: int = 0
    """Tokens asked for: prompts and the longest completions."""
    prompt_tokens: int = 0
    """Tokens of prompts that were computed, and not found in the cache of prefixes."""
    in_flight: int = 0
    most_in_flight: int = 0
    calls: list[tuple[str, Any]] = field(default_factory=list)
    """Routes of weights that were called, each with its body."""
    keys: set[str | None] = field(default_factory=set)
    """The Authorization headers of all requests."""
    bodies: list[dict[str, Any]] = field(default_factory=list)
    """Requests for samples, the first few."""


Answer = Callable[[dict[str, Any]], web.StreamResponse | None]


class FakeServer:
    """Used as a context it listens on a thread of its own; at `url`, as `seen`.

    Args:
        faults: faults of requests for samples, drawn from the request and from `seed`.
        version: of its weights; the one that vLLM starts with, if left out.
        key: asked for on the routes that vLLM guards.
        answer: answers a request for a sample in its own way, or leaves it to the rest by None.
        latency_s: seconds before each answer to a request for a sample.
        port: of its address; any free one if 0.
        model: the name that it calls its model; it has no list of models if left out.
        context: tokens of its longest prompt plus completion.
    """

    def __init__(
        self,
        faults: Faults | None = None,
        *,
        seed: int = 0,
        version: str = "default",
        key: str | None = None,
        answer: Answer | None = None,
        latency_s: float = 0.0,
        port: int = 0,
        model: str | None = None,
        context: int = 2**20,
    ) -> None:
        self.faults = faults or Faults()
        self.version = version
        self.seen = SeenRequests()
        self.url = ""
        self.healthy = True
        self.held = False
        """Answer no request for a sample until it is False again (`release`)."""
        self.world_size: Any = 1
        self.models: Any = {"data": [{"id": model, "max_model_len": context}]} if model else None
        self._key = key
        self._answer = answer
        self._latency_s = latency_s
        self._seed = seed
        self._port = port
        self._cached: set[tuple[str, tuple[int, ...]]] = set()
        self._paused = False

    def __enter__(self) -> FakeServer:
        started = threading.Event()
        self._thread = threading.Thread(target=lambda: asyncio.run(self._run(started)))
        self._thread.start()
        started.wait()
        return self

    def __exit__(self, *_: object) -> None:
        self.kill()

    def kill(self) -> None:
        """End it: connections are cut, and its port is closed. A second call does nothing."""
        if self._thread.is_alive():
            self._loop.call_soon_threadsafe(self._stop.set)
            self._thread.join()

    def restart(self) -> None:
        """Start again at the same address, with weights that mean nothing."""
        self.kill()
        self.version = "default"
        self.__enter__()

    def release(self) -> None:
        """Answer what was held."""
        self.held = False
        self._loop.call_soon_threadsafe(self._go.set)

    async def _run(self, started: threading.Event) -> None:
        self._loop = asyncio.get_running_loop()
        self._stop, self._go = asyncio.Event(), asyncio.Event()
        app = web.Application(client_max_size=2**26)
        app.router.add_post("/inference/v1/generate", self._generate)
        app.router.add_get("/health", self._health)
        app.router.add_get("/version", self._vllm_version)
        app.router.add_get("/v1/models", self._listed)
        app.router.add_get("/get_world_size", self._world_size)
        app.router.add_get("/weight_info", self._weight_info)
        app.router.add_post("/{route:.*}", self._weights)
        runner = web.AppRunner(app, access_log=None, logger=_QUIET, shutdown_timeout=0.01)
        await runner.setup()
        site = web.TCPSite(runner, "127.0.0.1", self._port, backlog=4096)
        await site.start()
        self._port = runner.addresses[0][1]
        self.url = f"http://127.0.0.1:{self._port}"
        started.set()
        await self._stop.wait()
        await runner.cleanup()

    async def _health(self, request: web.Request) -> web.Response:
        return web.Response(status=200 if self.healthy else 503)

    async def _vllm_version(self, request: web.Request) -> web.Response:
        return web.json_response({"version": "0.32.0"})

    async def _world_size(self, request: web.Request) -> web.Response:
        return web.json_response({"world_size": self.world_size})

    async def _listed(self, request: web.Request) -> web.Response:
        if self._key is not None and request.headers.get("Authorization") != f"Bearer {self._key}":
            return web.json_response({"error": "Unauthorized"}, status=401)
        return web.json_response(self.models, status=200 if self.models else 404)

    async def _weight_info(self, request: web.Request) -> web.Response:
        if not self.healthy:
            return web.json_response({"error": "EngineDeadError"}, status=500)
        return web.json_response({"weight_version": self.version})

    async def _weights(self, request: web.Request) -> web.Response:
        text = await request.text()
        body = json.loads(text) if text else {}
        route = request.match_info["route"]
        self.seen.calls.append((route, body or dict(request.query)))
        if route == "finish_weight_update" and body.get("weight_version") is not None:
            self.version = body["weight_version"]
        if route == "update_weight_version":
            self.version = body["new_version"]
        return web.json_response({"message": "done"})

    async def _generate(self, request: web.Request) -> web.StreamResponse:
        given = request.headers.get("Authorization")
        self.seen.keys.add(given)
        if self._key is not None and given != f"Bearer {self._key}":
            return web.json_response({"error": f"{given} is not allowed"}, status=401)
        body = await request.json()
        self.seen.in_flight += 1
        self.seen.most_in_flight = max(self.seen.most_in_flight, self.seen.in_flight)
        try:
            if self.held:
                self._go.clear()
                await self._go.wait()
            if self._latency_s:
                await asyncio.sleep(self._latency_s)
            return await self._answered(request, body)
        finally:
            self.seen.in_flight -= 1

    async def _answered(self, request: web.Request, body: dict[str, Any]) -> web.StreamResponse:
        sampling = body["sampling_params"]
        prompt = tuple(body["token_ids"])
        asked = (prompt, sampling["seed"])
        self.seen.rows[asked] += 1
        self.seen.tokens += len(prompt) + sampling["max_tokens"]
        if len(self.seen.bodies) < 8:
            self.seen.bodies.append(body)
        if self._answer is not None and (given := self._answer(body)) is not None:
            return given
        fault = self.faults.at(self._place(asked))
        self.seen.faults[fault] += bool(fault)
        if fault:
            early = await self._failed(request, fault)
            if early is not None:
                return early
        if (body["cache_salt"], prompt) not in self._cached:
            self._cached.add((body["cache_salt"], prompt))
            self.seen.prompt_tokens += len(prompt)
        reply = self._reply(prompt, sampling, fault)
        if fault in ("cut_after_headers", "half_a_reply"):
            return await _cut(request, reply, whole=fault == "half_a_reply")
        self.seen.answered += not fault
        return web.json_response(reply)

    def _place(self, asked: tuple[tuple[int, ...], int]) -> float:
        """A number from 0 to 1 for each time that a sample is asked for, in whatever order."""
        text = repr((asked, self.seen.rows[asked], self._seed)).encode()
        return int.from_bytes(hashlib.sha256(text).digest()[:8], "big") / 2**64

    async def _failed(self, request: web.Request, fault: str) -> web.StreamResponse | None:
        match fault:
            case "cut_before_headers":
                assert request.transport is not None
                request.transport.abort()
                return web.Response()
            case "server_error":
                return web.json_response({"error": "out of memory"}, status=500)
            case "hang":
                await self._stop.wait()
                return web.Response()
            case "too_many" | "unavailable":
                status = 429 if fault == "too_many" else 503
                return web.Response(status=status, headers={"Retry-After": "0.001"})
            case "garbage":
                return web.Response(text='{"choices": [{"ind', content_type="application/json")
            case "other_form":
                return web.json_response({"choices": [{"text": "hello"}]})
        return None

    def _reply(self, prompt: Sequence[int], sampling: Any, fault: str) -> dict[str, Any]:
        run, dash, step = self.version.rpartition("-")
        step = "0" if fault == "other_version" else step
        most = sampling["max_tokens"]
        drawn = completion_of(prompt, sampling["seed"], step, sampling["stop_token_ids"], most)
        ids, logprobs, reason = list(drawn.ids), list(drawn.logprobs), drawn.finish_reason
        content = [
            {"token_id": token, "logprob": lp, "top_logprobs": _likeliest(token, sampling)}
            for token, lp in zip(ids, logprobs, strict=True)
        ]
        match fault:
            case "token_too_few":
                ids.pop()
            case "logprob_too_few":
                content.pop()
            case "not_a_number":
                content[0]["logprob"] = -9999.0
            case "aborted":
                reason = "abort"
            case "cut_short":
                ids, content, reason = ids[: most - 1], content[: most - 1], "length"
        spans = [{"version": run + dash + step, "start": 0, "end": len(drawn.ids)}]
        choice = {
            "index": 0,
            "finish_reason": reason,
            "token_ids": ids,
            "logprobs": {"content": content},
            "weight_versions": None if fault == "no_version" else spans,
        }
        number = {"two_choices": 2, "no_choice": 0}.get(fault, 1)
        return {"request_id": "x", "choices": [choice] * number, "output_mode": "tokens"}


async def _cut(request: web.Request, reply: Any, *, whole: bool) -> web.StreamResponse:
    """Begin a reply, and cut the connection."""
    text = json.dumps(reply).encode()
    response = web.StreamResponse(headers={"Content-Length": str(len(text))})
    await response.prepare(request)
    if whole:
        await response.write(text[: len(text) // 2])
    assert request.transport is not None
    request.transport.abort()
    return response


def _likeliest(token: int, sampling: Any) -> list[dict[str, Any]]:
    """The drawn token, one that is as likely, and others that could not be drawn."""
    told = sampling["logprobs"]
    ids = [token, *(other for other in range(VOCABULARY) if other != token)][:told]
    return [
        {"token_id": each, "logprob": math.log(0.5) if place < 2 else -9999.0}
        for place, each in enumerate(ids)
    ]
