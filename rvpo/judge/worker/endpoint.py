"""One OpenAI-compatible chat endpoint: how it is called, and what that teaches about calling it."""

from __future__ import annotations

import asyncio
import math
import os
import random
import re
import time
from contextlib import suppress
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from typing import Final

import aiohttp

from rvpo.config.judge import EndpointConfig, JudgeConfig
from rvpo.config.judges import OWN
from rvpo.config.secret import masked
from rvpo.errors import ConfigError
from rvpo.judge.worker.answering import Answering
from rvpo.judge.worker.bill import Bill
from rvpo.judge.worker.connection import LONGEST_REPLY, OnlyReply, StrayReply, TooLong
from rvpo.judge.worker.denials import Denials
from rvpo.judge.worker.form import Form, Try
from rvpo.judge.worker.limits import Breaker, Pace, Window, share_of
from rvpo.judge.worker.proxy import proxy_of
from rvpo.judge.worker.refusal import BAD_MINUTES, Failure, Refusal, excerpt
from rvpo.judge.worker.reply import CallFailed, NotCompleted, Reply
from rvpo.judge.worker.route import CHAT, Route
from rvpo.judge.worker.scoring import route_of
from rvpo.runtime.redaction import Hidden

SCHEMA_REFUSED: Final = "schema refused"
"""The reason of a call that may succeed without its schema."""

_DENIALS: Final = frozenset((401, 402, 403, 404))  # of the key, the credit, the name: or of this
_NO_QUOTA: Final = "insufficient_quota"  # of a 429 that no waiting ends
_OF_SIZE: Final = frozenset((413, 414, 431))  # whatever is in the request
_BAD_MINUTE: Final = 502  # what a reply without a completion means if it says no more
_LONGEST_THROTTLE_S: Final = 30.0
_REFUSAL_BYTES: Final = 2**16
_MOST_TO_EXCERPT: Final = 4096
_REFUSAL_S: Final = 2.0  # how long the words of a refusal are waited for


@dataclass(slots=True, eq=False)
class Permit:
    """The right to one call, which takes its part of the endpoint's limits until it is left."""

    endpoint: Endpoint
    started: float
    reserved: int
    """Tokens set aside for the call."""
    bill: Bill | None = None
    """Bill of the call, once known, also where it came to nothing."""

    @property
    def used(self) -> int:
        """Tokens that the call took, those set aside as long as none are counted."""
        counted = 0 if self.bill is None else self.bill.input_tokens + self.bill.output_tokens
        return counted or self.reserved


class Endpoint:
    """Sends calls, and learns from how they end when to send the next.

    Args:
        config: its address and limits.
        model: the judge's name where the endpoint has none of its own.
        name: its name in messages, such as `judge.endpoints[0]`.
        share: (index, count) of this worker among those that divide the limits.
        route: the one that is asked.

    Raises:
        ConfigError: its key is not in the environment, its limits are too small to divide, or the
            environment's proxy is no address.
    """

    def __init__(
        self,
        config: EndpointConfig,
        model: str,
        name: str,
        share: tuple[int, int],
        route: Route = CHAT,
    ) -> None:
        self.model = config.model or model
        self.concurrency = share_of(config.concurrency, *share)
        self.form = Form()
        """Form in which it is to be asked."""
        self.answering = Answering(self.model)
        """Record of the models that answer."""
        self.broken: Failure | None = None
        """Reason that it will never answer; None as long as it may."""
        self.socket = config.socket
        """The Unix socket that it listens on; None on the network."""
        self._config = config
        self._name = name
        self._news: list[str] = []
        self._is_said_plain = False
        self._route = route
        self._url = route.url(config)
        self._proxy = None if config.socket is not None else proxy_of(self._url)
        self._window = Window(self.concurrency)
        self._breaker = Breaker()
        self._denials = Denials()
        self._requests = _pace(config.requests_per_minute, f"{name}.requests_per_minute", share)
        self._tokens = _pace(config.tokens_per_minute, f"{name}.tokens_per_minute", share)
        self._paused_until = -math.inf
        self._throttles = 0  # in a row, without a word on how long to wait
        if config.key_variable is not None and not _is_key(os.environ.get(config.key_variable, "")):
            raise ConfigError(
                f"{name}.key_variable: {config.key_variable} holds no API key in the environment "
                f"of the judge workers; write `export {config.key_variable}=...` before the run, "
                "or leave key_variable out for an endpoint that needs none"
            )
        key = self._key()
        self._hidden = Hidden([] if key is None else [key])

    @property
    def load(self) -> float:
        """Calls in flight as a share of what is allowed now."""
        return self._window.load

    def ready_at(self, now: float, tokens: int) -> float:
        """Moment from which it may be asked, as far as is known: infinity while that depends on
        other calls."""
        alone = self._denials.suspects and self._window.in_flight
        if self.broken is not None or alone or not self._window.has_room:
            return math.inf
        moment = max(self._paused_until, self._breaker.ready_at())
        if self._requests is not None:
            moment = max(moment, self._requests.ready_at(now, 1))
        if self._tokens is not None:
            moment = max(moment, self._tokens.ready_at(now, tokens))
        return moment

    def enter(self, now: float, tokens: int) -> Permit:
        """Begin a call of an estimated number of tokens, input and output together."""
        self._window.in_flight += 1
        if self._requests is not None:
            self._requests.settle(now, self._requests.reserve(now, 1), 1)
        reserved = self._tokens.reserve(now, tokens) if self._tokens is not None else 0
        self._breaker.enter(now)
        return Permit(self, now, reserved)

    def leave(self, permit: Permit, now: float) -> None:
        """End a call, however it went. Without a reply, its tokens count as estimated."""
        self._window.in_flight -= 1
        if not self.form.waits:
            self.broken = self.broken or self._denials.conclude(self._window.in_flight)
        if self._tokens is not None:
            self._tokens.settle(now, permit.reserved, permit.used)

    async def call(
        self,
        session: aiohttp.ClientSession,
        permit: Permit,
        body: bytes,
        timeout_s: float,
        tried: Try,
        longest: int = LONGEST_REPLY,
    ) -> Reply:
        """Send one request and read the whole reply, within `timeout_s`. What it took is noted in
        the permit, however it ends.

        Args:
            tried: form of the body.
            longest: most bytes of a reply that are read.

        Raises:
            CallFailed: there is no completion.
        """
        try:
            async with (
                asyncio.timeout(timeout_s),
                session.post(
                    self._url,
                    data=body,
                    headers=self._headers(),
                    proxy=self._proxy,
                    allow_redirects=False,  # they would take the key elsewhere
                ) as response,
            ):
                wait = response.headers.get("Retry-After")
                if not 200 <= response.status < 300:
                    text = await _beginning(response.content)
                    permit.bill = self._bill(text, body, None)
                    refusal = Refusal.read(text)
                    status = refusal.status_beside(response.status)
                    reason = f"http {status}"
                    raise self._refused(status, reason, wait, refusal, permit, tried, body)
                assert isinstance(response, OnlyReply)
                text = await response.whole(longest)
        except TooLong:
            raise CallFailed("reply too long", "resample") from None
        except (TimeoutError, aiohttp.ClientError, OSError) as error:
            self._breaker.fail(time.monotonic(), permit.started)
            raise CallFailed(_reason(error), "retry") from None
        try:
            reply = self._route.read(text, self.detail)
        except NotCompleted as error:  # gateways pass on errors as if they were replies
            permit.bill = self._bill(text, body, None)
            refusal, reason = error.refusal, str(error)
            status = refusal.status or _BAD_MINUTE
            raise self._refused(status, reason, wait, refusal, permit, tried, body) from None
        except CallFailed as error:
            permit.bill = self._bill(text, body, error.failure.detail)
            self._breaker.succeed(time.monotonic())
            raise
        written = reply.text if self._route.writes else ""
        permit.bill = Bill.of(reply.usage, self._config, len(body), written)
        self._learn(reply, permit, tried)
        return reply

    def _learn(self, reply: Reply, permit: Permit, tried: Try) -> None:
        """A call was answered."""
        if reply.text.strip() or reply.cut or tried.with_schema:
            self._breaker.succeed(time.monotonic())
        else:  # nothing at all, and not for the schema: no better than no completion
            self._breaker.fail(time.monotonic(), permit.started)
        self._window.grow()
        self._throttles = 0
        self._denials.answer()
        self.form.answer(tried)
        strange = self.answering.hear(reply.model) if reply.model else ""
        if strange:
            self._news.append(
                f"{self._name} {strange}; verdicts are remembered under the name of the model that "
                "gave them"
            )

    def _bill(self, reply: bytes, body: bytes, written: str | None) -> Bill | None:
        return Bill.read(reply, self._config, len(body), written)

    def news(self) -> tuple[str, ...]:
        """Sentences on what it does that was not asked of it, each handed out once."""
        if self.form.plain and not self._is_said_plain:
            self._is_said_plain = True
            self._news.append(
                f"{self._name} refuses `response_format` (calls with it failed, and the same "
                "questions were answered without it) and is asked in words alone; "
                f"{_judge_of(self._name)}.structured=false asks so from the start"
            )
        news, self._news = self._news, []
        return tuple(news)

    def without_key(self, text: str) -> str:
        """The server's words, with the API key taken out where they repeat it or a part."""
        return self._hidden.out_of(text)

    def detail(self, text: str) -> str:
        """An excerpt of what the server wrote, with all keys taken out, to be shown to users."""
        return excerpt(masked(self.without_key(text[:_MOST_TO_EXCERPT])))

    def _key(self) -> str | None:
        variable = self._config.key_variable
        return None if variable is None else os.environ[variable].strip()

    def _headers(self) -> dict[str, str]:
        headers = {"Content-Type": "application/json", "Accept-Encoding": "identity"}
        key = self._key()
        if key is not None:
            headers["Authorization"] = f"Bearer {key}"
        return headers

    def _refused(
        self,
        status: int,
        reason: str,
        retry_after: str | None,
        refusal: Refusal,
        permit: Permit,
        tried: Try,
        body: bytes,
    ) -> CallFailed:
        now = time.monotonic()
        detail = self.detail(refusal.message)
        if status != 429 and tried.with_schema and (_is_of_request(status) or refusal.names_schema):
            self.form.is_named |= refusal.names_schema
            return CallFailed(SCHEMA_REFUSED, "plain", detail)
        if _NO_QUOTA in refusal.codes:
            self._breaker.succeed(now)  # it answers, if not as we like
            self.broken = Failure("quota used up", detail)
            return CallFailed(self.broken.reason, "switch", detail)
        if status in _DENIALS:
            self._breaker.succeed(now)
            self._denials.deny(Failure(reason, detail), body)
            if status == 404 and self.form.refuse(tried, retried=False):
                return self._in_other_form(reason, detail)
            alone = "denied with " if self._denials.answered else ""
            return CallFailed(alone + reason, "switch", detail)
        pause_s = _seconds(retry_after)
        if pause_s is not None:
            self._paused_until = max(self._paused_until, now + pause_s)
        if status == 429:
            if self._window.halve(now, permit.started) and pause_s is None:
                pause_s = min(_LONGEST_THROTTLE_S, 0.5 * 2**self._throttles)
                self._throttles += 1
                self._paused_until = max(self._paused_until, now + pause_s * random.uniform(0.5, 1))
            return CallFailed(reason, "wait", detail)
        if status in BAD_MINUTES:
            self._breaker.fail(now, permit.started)
            if status >= 500 and self.form.refuse(tried, retried=True):
                return self._in_other_form(reason, detail)
            return CallFailed(reason, "retry", detail)
        self._breaker.succeed(now)
        return CallFailed(self._route.reason(reason, refusal.message), "none", detail)

    def _in_other_form(self, reason: str, detail: str) -> CallFailed:
        if self.form.plain:
            return CallFailed(SCHEMA_REFUSED, "plain", detail)
        return CallFailed(reason, "again", detail)


def all_endpoints(
    config: JudgeConfig, share: tuple[int, int], where: str = OWN
) -> tuple[Endpoint, ...]:
    """The endpoints that the settings name, as one worker sees them.

    Args:
        where: the section of the settings, for messages.

    Raises:
        ConfigError: one of them cannot be used.
    """
    return tuple(
        Endpoint(
            endpoint, config.model or "", f"{where}.endpoints[{index}]", share, route_of(config)
        )
        for index, endpoint in enumerate(config.endpoints)
    )


def _judge_of(name: str) -> str:
    """The section of the judge that an endpoint, or a limit of one, is named in."""
    return name.partition(".endpoints")[0]


async def _beginning(content: aiohttp.StreamReader) -> bytes:
    """Beginning of a refusal's body, as much as comes soon: the status counts, whatever follows
    it."""
    chunks: list[bytes] = []
    with suppress(TimeoutError, aiohttp.ClientError, OSError):
        async with asyncio.timeout(_REFUSAL_S):
            while sum(map(len, chunks)) < _REFUSAL_BYTES and not content.at_eof():
                chunks.append(await content.read(_REFUSAL_BYTES))
    return b"".join(chunks)


def _reason(error: BaseException) -> str:
    if isinstance(error, TimeoutError):
        return "timeout"
    if isinstance(error, StrayReply):
        return "stray reply"
    if isinstance(error, aiohttp.ClientConnectorDNSError):
        return "unknown host"
    return "tls" if isinstance(error, aiohttp.ClientSSLError) else "connection"


def _seconds(retry_after: str | None) -> float | None:
    """Seconds of a Retry-After header, in either of its forms; None where it says nothing."""
    if retry_after is None:
        return None
    if re.fullmatch(r"\s*\d{1,9}(\.\d*)?\s*", retry_after):
        return float(retry_after)
    try:
        return max(0.0, parsedate_to_datetime(retry_after).timestamp() - time.time())
    except (ValueError, OverflowError):  # the year may be any number
        return None


def _pace(limit: int | None, name: str, share: tuple[int, int]) -> Pace | None:
    if limit is None:
        return None
    part = share_of(limit, *share)
    if part < 1:
        raise ConfigError(
            f"{name}: {limit} cannot be shared by {share[1]} workers; give at least {share[1]}, "
            f"or fewer {_judge_of(name)}.workers"
        )
    return Pace(part)


def _is_key(text: str) -> bool:
    # A header holds nothing else, and an error about one would show the key.
    return re.fullmatch(r"[\x21-\x7e]+", text.strip()) is not None


def _is_of_request(status: int) -> bool:
    """True where a status says that something in the request is not liked."""
    mistaken = 400 <= status < 500 and status not in _DENIALS | _OF_SIZE | BAD_MINUTES
    return mistaken or status == 501
