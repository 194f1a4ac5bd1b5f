"""Questions to servers over HTTP, all from one event loop in a thread of its own."""

from __future__ import annotations

import asyncio
import os
import re
import socket
import ssl
import threading
from collections.abc import Coroutine
from concurrent.futures import CancelledError, Future
from json import loads
from typing import Any, Final, Literal, TypeVar

import aiohttp

from rvpo.errors import EngineError

T = TypeVar("T")
FaultKind = Literal["lost", "late", "busy", "refused", "failed", "stale"]

_CONNECT_S: Final = 20.0
"""Seconds for a connection: a machine that is gone says nothing at all."""
_END_S: Final = 5.0
_WORDS: Final = 300
"""Characters of a server's words that are told."""
_PASSING: Final = frozenset((408, 425))
"""Statuses below 500 that say nothing against the question."""
_IDLE_S: Final = 2.0
"""Seconds that an unused connection is kept: less than the 5 after which vLLM closes it, perhaps
just when the next question is on its way."""


class ServerError(Exception):
    """A question that a server did not answer.

    Args:
        url: the server's address.
        reason: its words, or those about it; without the key.
        kind: `lost`, no connection or one that was cut; `late`, no answer in time; `busy`, not
            now; `refused`, the question itself; `failed`, a fault of its own, or an answer that
            cannot be read; `stale`, an answer of other weights than asked for.
        wait_s: seconds after which a busy one asks to be asked again, if it says so.
    """

    def __init__(self, url: str, reason: str, kind: FaultKind, wait_s: float | None = None) -> None:
        super().__init__(f"{url}: {reason}")
        self.url = url
        self.reason = reason
        self.kind = kind
        self.wait_s = wait_s


class Http:
    """One event loop with one pool of connections, for questions from any thread.

    Args:
        key: sent with each question, and taken out of all that servers say.
    """

    def __init__(self, key: str | None = None) -> None:
        self._key = key
        self._loop = asyncio.new_event_loop()
        self._session: aiohttp.ClientSession | None = None
        self._thread = threading.Thread(target=self._live, name="servers", daemon=True)
        self._thread.start()

    @property
    def is_open(self) -> bool:
        """True until `close`."""
        return not self._loop.is_closed() and self._thread.is_alive()

    def start(self, work: Coroutine[Any, Any, T]) -> Future[T]:
        """Begin some work, from any thread.

        Raises:
            EngineError: the loop is closed.
        """
        try:
            return asyncio.run_coroutine_threadsafe(work, self._loop)
        except RuntimeError as error:
            work.close()
            raise EngineError("the connections to the servers are closed") from error

    def run(self, work: Coroutine[Any, Any, T], timeout_s: float | None = None) -> T:
        """Run to the end, from any thread but its own, and return or raise what it does.

        Raises:
            TimeoutError: it took longer, and was cancelled.
            EngineError: the loop was closed meanwhile.
        """
        future = self.start(work)
        try:
            return future.result(timeout_s)
        except CancelledError as error:
            raise EngineError("the connections to the servers were closed meanwhile") from error
        finally:
            future.cancel()  # where waiting was interrupted, as by Ctrl-C

    async def ask(
        self,
        method: str,
        url: str,
        route: str,
        *,
        json: Any = None,
        params: dict[str, str] | None = None,
        timeout_s: float,
    ) -> Any:
        """The answer of a server, read as JSON; None where it is empty. Within this loop alone.

        Args:
            url: the server's address.
            route: the question, such as `/health`.

        Raises:
            ServerError: there is none.
        """
        text = await self.fetch(method, url, route, json=json, params=params, timeout_s=timeout_s)
        try:
            return loads(text) if text else None
        except (ValueError, RecursionError) as error:
            words = f"answered {route} with what is no JSON ({self.told(str(error))})"
            raise ServerError(url, words, "failed") from None

    async def fetch(
        self,
        method: str,
        url: str,
        route: str,
        *,
        json: Any = None,
        params: dict[str, str] | None = None,
        timeout_s: float,
    ) -> bytes:
        """The answer of a server as it comes. Within this loop alone.

        Raises:
            ServerError: there is none.
        """
        try:
            async with (
                asyncio.timeout(timeout_s),
                self._opened().request(
                    method,
                    url + route,
                    json=json,
                    params=params,
                    headers=None if self._key is None else {"Authorization": f"Bearer {self._key}"},
                    allow_redirects=False,  # they would take the key elsewhere
                ) as response,
            ):
                text = await response.read()
        except aiohttp.ClientError as error:  # timeouts of a connection are among them
            raise ServerError(url, self.told(_words_of(error)), "lost") from None
        except TimeoutError:
            words = f"did not answer {route} within {timeout_s:.0f} s"
            raise ServerError(url, words, "late") from None
        except OSError as error:
            raise ServerError(url, self.told(error.strerror or str(error)), "lost") from None
        if response.status != 200:
            raise self._refused(url, route, response, text)
        return text

    def _refused(
        self, url: str, route: str, response: aiohttp.ClientResponse, text: bytes
    ) -> ServerError:
        status = response.status
        said = self.told(text.decode(errors="replace"))
        words = f"answered {route} with {status}" + (f" ({said})" if said else "")
        wait_s = _seconds(response.headers.get("Retry-After"))
        if status == 429 or (status == 503 and wait_s is not None):
            return ServerError(url, words, "busy", wait_s)
        is_refused = status < 500 and status not in _PASSING
        return ServerError(url, words, "refused" if is_refused else "failed")

    def told(self, text: str) -> str:
        """Words in one line, of which the key is no part."""
        if self._key:
            text = text.replace(self._key, "[key]")
        return " ".join(text.split())[:_WORDS]

    def _opened(self) -> aiohttp.ClientSession:
        if self._session is None:
            connector = aiohttp.TCPConnector(
                limit=0, keepalive_timeout=_IDLE_S, socket_factory=_noticing_silence
            )
            timeout = aiohttp.ClientTimeout(total=None, sock_connect=_CONNECT_S)
            self._session = aiohttp.ClientSession(connector=connector, timeout=timeout)
        return self._session

    def close(self) -> None:
        """Cancel what is under way, close all connections and end the thread. Calling it twice does
        no harm."""
        if self._loop.is_closed():
            return
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(_END_S)

    def _live(self) -> None:
        asyncio.set_event_loop(self._loop)
        try:
            self._loop.run_forever()
        finally:
            self._loop.run_until_complete(self._end())
            self._loop.close()

    async def _end(self) -> None:
        tasks = asyncio.all_tasks() - {asyncio.current_task()}
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        if self._session is not None:
            await self._session.close()


def _noticing_silence(place: aiohttp.AddrInfoType) -> socket.socket:
    """A socket that notices within a minute and a half that a machine went away, however long it
    may take to answer: while nothing is sent, and while what was sent is not confirmed."""
    family, kind, protocol, _, _ = place
    made = socket.socket(family, kind, protocol)
    made.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    made.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, 30)
    made.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPINTVL, 10)
    made.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPCNT, 6)
    made.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, 90_000)
    return made


def _words_of(error: aiohttp.ClientError) -> str:
    if isinstance(error, aiohttp.ServerDisconnectedError):
        return "closed the connection"
    if isinstance(error, aiohttp.ClientConnectorError):  # whose own words hold its settings of TLS
        cause = error.os_error
        if isinstance(cause, socket.gaierror | ssl.SSLError) or not cause.errno:
            return f"cannot be reached ({cause.strerror or cause})"
        return f"cannot be reached ({os.strerror(cause.errno)})"
    return str(error) or type(error).__name__


def _seconds(retry_after: str | None) -> float | None:
    """Seconds of a Retry-After header that gives a number of them."""
    if retry_after is None or not re.fullmatch(r"\s*\d{1,6}(\.\d*)?\s*", retry_after):
        return None
    return float(retry_after)
