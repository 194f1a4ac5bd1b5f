"""Connections of one question each, over which nothing but its reply may come.

HTTP/1.1 binds a reply to its request by nothing but their order on a connection (RFC 9112, 9.3.2).
On a kept connection a reply that comes twice, or that nobody asked for, is therefore the answer to
the next question, and no look at it can tell. So a connection carries one question, nothing may
come before that is sent, and what comes after the reply, until the server closes as it has been
told to (9.6), may only repeat it.
"""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any, Final, cast

import aiohttp
from aiohttp.client_proto import ResponseHandler
from aiohttp.connector import Connection
from aiohttp.http_exceptions import HttpProcessingError

LISTEN_S: Final = 0.01
"""Seconds for which a new connection is listened to, or as long as it took to open where that is
more: what a server sends on its own comes this soon, and without a question it answers none."""
CLOSE_S: Final = 0.25
"""Seconds of waiting for a server that does not close after its reply."""
LONGEST_REPLY: Final = 2**20
"""Bytes of a reply that are read."""


class StrayReply(aiohttp.ClientConnectionError):
    """Something came over the connection that is not the reply to its question."""


class TooLong(Exception):
    """A reply has more bytes than are read."""


class OnlyReply(aiohttp.ClientResponse):
    """A response that can tell whether it was the only one on its connection."""

    async def start(self, connection: Connection) -> OnlyReply:
        """
        Raises:
            StrayReply: something came before the question was sent.
        """
        protocol = connection.protocol
        assert protocol is not None
        if protocol.should_close:  # the connection is new: only received bytes can make it so
            raise StrayReply
        self._stream = protocol
        self._held = _Held(connection)
        await super().start(cast(Connection, self._held))
        return self

    async def whole(self, most: int = LONGEST_REPLY) -> bytes:
        """The body, once the connection has shown that nothing contradicts it.

        Args:
            most: bytes that are read.

        Raises:
            StrayReply: the connection brought another reply, or bytes that are none.
            TooLong: there is more than is read.
            aiohttp.ClientError: the body is not whole.
        """
        body = await _read(self.content, most)
        while (content := await self._next()) is not None:
            try:
                async with asyncio.timeout(CLOSE_S):
                    repeats = await _read(content, most) == body
            except TimeoutError:
                repeats = False
            if not repeats:
                raise StrayReply
        return body

    async def _next(self) -> aiohttp.StreamReader | None:
        """The body of another reply; None where the server closes, or says nothing for a while."""
        try:
            async with asyncio.timeout(CLOSE_S):
                _, content = await self._stream.read()
        except (TimeoutError, aiohttp.ServerDisconnectedError, OSError):
            return None
        except HttpProcessingError as error:
            raise StrayReply from error
        return content

    def release(self) -> Any:
        """See `aiohttp.ClientResponse`; the connection ends with it."""
        done = super().release()
        self._held.close()
        return done


class _Held:
    """A connection that stays open when a reply has been read to its end."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    @property
    def protocol(self) -> ResponseHandler | None:
        return self._connection.protocol

    @property
    def transport(self) -> asyncio.Transport | None:
        return self._connection.transport

    def release(self) -> None:
        """Not yet: more may come."""

    def close(self) -> None:
        self._connection.close()


class _Listening(aiohttp.BaseConnector):
    """A connector that listens to each new connection before it hands it on."""

    async def connect(
        self, req: aiohttp.ClientRequest, traces: list[Any], timeout: aiohttp.ClientTimeout
    ) -> Connection:
        loop = asyncio.get_running_loop()
        started = loop.time()
        connection = await super().connect(req, traces, timeout)
        opening_s = loop.time() - started
        try:
            await asyncio.sleep(max(LISTEN_S, opening_s))
        except asyncio.CancelledError:
            connection.close()  # nobody else has it yet
            raise
        return connection


class _ListeningTCP(_Listening, aiohttp.TCPConnector):
    """Over the network."""


class _ListeningUnix(_Listening, aiohttp.UnixConnector):
    """Over one Unix socket."""


def open_session(socket: Path | None = None) -> aiohttp.ClientSession:
    """Session for calls with timeouts of their own, each over a new connection: over the network,
    or all to one Unix socket."""
    return aiohttp.ClientSession(
        connector=(
            _ListeningTCP(limit=0, force_close=True)
            if socket is None
            else _ListeningUnix(str(socket), limit=0, force_close=True)
        ),
        timeout=aiohttp.ClientTimeout(total=None, sock_connect=None),
        cookie_jar=aiohttp.DummyCookieJar(),
        response_class=OnlyReply,
    )


async def _read(content: aiohttp.StreamReader, most: int) -> bytes:
    chunks = []
    size = 0
    async for chunk in content.iter_any():
        chunks.append(chunk)
        size += len(chunk)
        if size > most:
            raise TooLong
    return b"".join(chunks)
