"""Calls for questions until each has a verdict, or nothing is left to try."""

from __future__ import annotations

import asyncio
import random
from collections import deque
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from typing import Final, Literal

from rvpo.config.judge import JudgeConfig
from rvpo.judge.reply_object import Unreadable
from rvpo.judge.sheet import divided
from rvpo.judge.types import Answer
from rvpo.judge.verdict import read
from rvpo.judge.verdicts import read_sheet
from rvpo.judge.worker.connection import open_session
from rvpo.judge.worker.endpoint import SCHEMA_REFUSED, Endpoint, Permit
from rvpo.judge.worker.form import Try
from rvpo.judge.worker.inquiry import Inquiry, Ruling
from rvpo.judge.worker.probability import Unweighable, expected
from rvpo.judge.worker.purse import Purse
from rvpo.judge.worker.refusal import Failure
from rvpo.judge.worker.reply import CallFailed, Remedy, Reply
from rvpo.judge.worker.request import Renderer, Request, Sheet
from rvpo.judge.worker.router import NoEndpoint, Router

FIRST_BACKOFF_S: Final = 0.5
LONGEST_BACKOFF_S: Final = 8.0
HEDGE_SAMPLES: Final = 20
"""Latencies that must be known before a slow call can be told from a usual one."""

_RECENT: Final = 200

Land = Callable[[Mapping[bytes, Answer]], Awaitable[None]]
"""Takes final answers by their keys, as they become known."""


class Caller:
    """Asks sheets, and the parts of a sheet that came to nothing in smaller ones.

    A sheet whose reply cannot be read as a whole, or is refused as a whole, says nothing about any
    of its criteria: it is asked in halves. Where only some criteria failed, those are. Each sheet
    is at most half of the one before, so that in the end each criterion stands alone.

    Args:
        config: settings of the judge.
        endpoints: those that it names.
        renderer: makes the sheets and their bodies.
        purse: pays for replies.
    """

    def __init__(
        self,
        config: JudgeConfig,
        endpoints: Sequence[Endpoint],
        renderer: Renderer,
        purse: Purse,
    ) -> None:
        self._config = config
        self._endpoints = endpoints
        self._renderer = renderer
        self._purse = purse
        self._latencies: deque[float] = deque(maxlen=_RECENT)

    def open(self) -> None:
        """Begin; a running loop is needed. `close` must follow."""
        self._router = Router(self._endpoints, self._config.deadline_s)
        sockets = {endpoint.socket for endpoint in self._endpoints}
        self._sessions = {socket: open_session(socket) for socket in sockets}

    async def close(self) -> None:
        """Close all connections. Nothing may be asked any more."""
        for session in self._sessions.values():
            await session.close()
        await asyncio.sleep(0)  # in which the loop closes the sockets of the last calls

    async def ask(self, sheet: Sheet, land: Land) -> None:
        """Ask until each question has an answer, which is handed to `land`."""
        try:
            permit = await self._router.permit(sheet.tokens)
        except NoEndpoint as error:
            lost = _lost(error.failure)
            await land({request.key: lost for request in sheet.requests})
            return
        asking = Inquiry(sheet, permit.started, permit.started + self._config.deadline_s)
        await self._ask(asking, permit, land)

    async def _ask(self, asking: Inquiry, permit: Permit, land: Land) -> None:
        """Ask a sheet until it says something, or nothing is left to try; then what is left of it.

        Args:
            permit: the right to the first call.
        """
        requests = asking.sheet.requests
        verdicts: Mapping[bytes, Ruling]
        while True:
            try:
                verdicts = await self._attempt(asking, permit)
            except CallFailed as error:
                verdicts = {request.key: error.failure for request in requests}
                remedy = self._remedy(asking, error)
                goes_on = await self._recover(asking, remedy)
                if goes_on and remedy != "divide":
                    with suppress(NoEndpoint):
                        permit = await self._router.permit_again(
                            asking.sheet.tokens, permit.endpoint, asking.deadline
                        )
                        continue
                    goes_on = False
            else:
                asking.note(verdicts)
                asking.attempts += 1
                goes_on = asking.attempts < self._config.attempts
            break
        answers = asking.answers(verdicts, asyncio.get_running_loop().time())
        left = [r for r in requests if goes_on and answers[r.key].value is None]
        await self._land(asking, answers, left, land)
        if left:
            await self._ask_again(asking, left, answers, permit.endpoint, land)

    async def _land(
        self,
        asking: Inquiry,
        answers: Mapping[bytes, Answer],
        left: Sequence[Request],
        land: Land,
    ) -> None:
        """Hand on the final answers, the news with the first."""
        again = {request.key for request in left}
        final = {key: answer for key, answer in answers.items() if key not in again}
        if final:
            if asking.news:
                first = next(iter(final))
                final[first] = replace(final[first], news=asking.take_news())
            await land(final)

    async def _ask_again(
        self,
        asking: Inquiry,
        requests: Sequence[Request],
        answers: Mapping[bytes, Answer],
        avoided: Endpoint,
        land: Land,
    ) -> None:
        """Ask what failed of a sheet in sheets of half its size, side by side."""

        async def ask(smaller: Inquiry) -> None:
            try:
                permit = await self._router.permit_again(
                    smaller.sheet.tokens, avoided, smaller.deadline
                )
            except NoEndpoint:
                lost = {request.key: answers[request.key] for request in smaller.sheet.requests}
                await self._land(smaller, lost, (), land)
                return
            await self._ask(smaller, permit, land)

        half = max(1, len(asking.sheet.requests) // 2)
        async with asyncio.TaskGroup() as group:
            for part in divided(requests, half):
                group.create_task(ask(asking.smaller(self._renderer.sheet(part), answers)))

    def _remedy(self, asking: Inquiry, error: CallFailed) -> Remedy | Literal["divide"]:
        """Remedy of a failed call. What may be the fault of one criterion of a sheet, or of its
        length, is found out by asking for fewer."""
        if len(asking.sheet.requests) == 1:
            return error.remedy
        if error.remedy in ("resample", "none") or error.failure.reason == "timeout":
            return "divide"
        denied = error.remedy == "switch" and not self._others(asking)
        return (
            "divide" if denied and any(e.broken is None for e in self._endpoints) else error.remedy
        )

    def _others(self, asking: Inquiry) -> bool:
        """True where an endpoint is left that did not deny the question."""
        return any(e.broken is None and e not in asking.denied_by for e in self._endpoints)

    async def _recover(self, asking: Inquiry, remedy: Remedy | Literal["divide"]) -> bool:
        """Do what helps after a failure and before another attempt. Returns whether one may
        follow."""
        if remedy in ("retry", "resample", "divide"):
            asking.attempts += 1
        if remedy in ("none", "stop") or asking.attempts >= self._config.attempts:
            return False
        if remedy == "switch":
            return self._others(asking)
        if remedy == "plain":
            asking.plain = True
        elif remedy == "resample":
            asking.resamples += 1
        elif remedy in ("retry", "wait"):
            # Full jitter (Brooker, "Exponential Backoff And Jitter", 2015).
            # The endpoint's own pause follows on a 429; there the calls only need spreading.
            doublings = asking.attempts - 1 if remedy == "retry" else 0
            longest = FIRST_BACKOFF_S * 2.0 ** min(10, doublings)
            pause = random.uniform(0, min(LONGEST_BACKOFF_S, longest))
            now = asyncio.get_running_loop().time()
            if now + pause >= asking.deadline:
                return False
            await asyncio.sleep(pause)
        return True

    async def _attempt(self, asking: Inquiry, permit: Permit) -> dict[bytes, Ruling]:
        """One call, and a second one beside it where the first is slow.

        Returns:
            The reply's verdict on each question, or the reason that it has none, by key.

        Raises:
            CallFailed: neither was readable; the later failure.
        """
        delay = self._usual_latency()
        if delay is None:
            return await self._call(asking, permit)
        loop = asyncio.get_running_loop()
        started = loop.time()
        first = asyncio.create_task(self._call(asking, permit))
        calls = {first}
        try:
            await asyncio.wait(calls, timeout=delay)
            if not first.done():
                extra = self._router.permit_now(asking.sheet.tokens, permit.endpoint)
                if extra is not None:
                    asking.hedges += 1
                    calls.add(asyncio.create_task(self._call(asking, extra)))
            while True:
                done, waiting = await asyncio.wait(calls, return_when=asyncio.FIRST_COMPLETED)
                readable = [call for call in done if call.exception() is None]
                if readable and first in waiting:
                    # At least this long. Left out, slow calls would vanish from what is usual.
                    self._latencies.append(loop.time() - started)
                if readable or not waiting:
                    return (readable or list(done))[0].result()
                calls = waiting
        finally:
            for call in calls:
                call.cancel()
            await asyncio.gather(*calls, return_exceptions=True)

    async def _call(self, asking: Inquiry, permit: Permit) -> dict[bytes, Ruling]:
        """
        Raises:
            CallFailed: no readable verdict came back.
        """
        endpoint = permit.endpoint
        started = asyncio.get_running_loop().time()
        is_free = self._config.structured and not asking.plain
        tried = endpoint.form.begin() if is_free else Try(False)
        body = self._renderer.body(
            asking.sheet,
            endpoint.model,
            with_schema=tried.with_schema,
            resamples=asking.resamples,
        )
        timeout_s = min(self._config.timeout_s, asking.deadline - started)
        asking.sent += 1
        try:
            session = self._sessions[endpoint.socket]
            longest = asking.sheet.requests[0].longest_reply
            try:
                reply = await endpoint.call(session, permit, body, timeout_s, tried, longest)
                self._router.heard()
            finally:
                self._pay(asking, permit)
            if asking.refused_by is endpoint:
                asking.refused_by = None
                endpoint.form.conclude()
            asking.model = reply.model
            asking.is_other = endpoint.answering.is_other(reply.model)
            verdicts = self._read(asking, endpoint, reply, tried.with_schema)
            self._latencies.append(asyncio.get_running_loop().time() - started)
            return verdicts
        except CallFailed as error:
            if error.failure.reason == SCHEMA_REFUSED:
                asking.refused_by = endpoint
            elif error.remedy == "switch":
                asking.denied_by.add(endpoint)
            elif error.remedy in ("plain", "resample"):
                asking.parse_failures += 1
            asking.failures[error.failure.reason] += 1
            self._router.failed(error.failure)
            raise
        finally:
            asking.news += endpoint.news()
            endpoint.form.end(tried)
            self._router.leave(permit)

    def _pay(self, asking: Inquiry, permit: Permit) -> None:
        """Count and pay what a call took, if it took anything.

        Raises:
            CallFailed: its cost cannot be noted.
        """
        if permit.bill is not None:
            asking.take(permit.bill)
            self._purse.pay(permit.bill.cost)

    def _read(
        self, asking: Inquiry, endpoint: Endpoint, reply: Reply, with_schema: bool
    ) -> dict[bytes, Ruling]:
        cut = reply.cut
        try:
            found = _verdicts(asking.sheet, reply)
        except Unweighable as error:  # another endpoint may tell more; the same one tells no more
            raise CallFailed(str(error), "switch") from None
        except Unreadable as error:
            if not reply.text.strip():  # an empty reply is an overload more often than an answer
                raise CallFailed(str(error), "plain" if with_schema else "retry") from None
            reason = "truncated" if cut else str(error)
            raise CallFailed(reason, "resample", endpoint.detail(reply.text)) from None
        return {
            key: Failure(str(verdict), endpoint.detail(reply.text))
            if isinstance(verdict, Unreadable)
            else (verdict[0], endpoint.without_key(verdict[1]))
            for key, verdict in found.items()
        }

    def _usual_latency(self) -> float | None:
        """Seconds beyond which a call is slow; None where that is not asked for or not known."""
        quantile = self._config.hedge_quantile
        if quantile is None or len(self._latencies) < HEDGE_SAMPLES:
            return None
        return sorted(self._latencies)[int(quantile * len(self._latencies))]


def _verdicts(sheet: Sheet, reply: Reply) -> dict[bytes, tuple[float, str] | Unreadable]:
    """Verdict of a reply on each question, by key, or the reason that it has none.

    Raises:
        Unreadable: it says nothing on any of them.
        Unweighable: it does not tell how probable each grade of a question was.
    """
    if not sheet.labels:
        (request,) = sheet.requests
        question = request.question
        if question.kind == "score":  # which was read with the reply
            return {request.key: (1.0, reply.text)}
        value, reason = read(question, reply.text, cut=reply.cut)
        if question.expected:
            value = expected(question, reply.text, value, reply.logprobs)
        return {request.key: (value, reason)}
    found = read_sheet(sheet.questions, reply.text, cut=reply.cut)
    return {
        request.key: found[label]
        for request, label in zip(sheet.requests, sheet.labels, strict=True)
    }


def _lost(failure: Failure) -> Answer:
    return Answer(value=None, failure=failure.reason, detail=failure.detail)
