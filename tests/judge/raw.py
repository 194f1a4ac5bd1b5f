"""A server on loopback that says bytes, in whatever order it is told to."""

from __future__ import annotations

import asyncio
import json
import threading
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Any

from tests.judge.server import completion, is_met, verdict


class Wire:
    """One connection of a client."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer

    async def question(self) -> dict[str, Any] | None:
        """The body of the next request; None where the client has left."""
        try:
            head = await self._reader.readuntil(b"\r\n\r\n")
            lines = head.decode("latin-1").lower().split("\r\n")
            length = next(int(x.split(":")[1]) for x in lines if x.startswith("content-length:"))
            body: dict[str, Any] = json.loads(await self._reader.readexactly(length))
        except (asyncio.IncompleteReadError, ConnectionError):
            return None
        return body

    async def say(self, data: bytes) -> None:
        with suppress(ConnectionError):
            self._writer.write(data)
            await self._writer.drain()

    def end(self) -> None:
        self._writer.close()


Behaviour = Callable[[Wire], Awaitable[None]]
"""What is done with a connection, from its beginning to its end."""


class RawServer:
    """Used as a context it listens on a thread of its own, at `url`."""

    def __init__(self, behaviour: Behaviour) -> None:
        self._behaviour = behaviour
        self.url = ""

    def __enter__(self) -> RawServer:
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
        server = await asyncio.start_server(self._serve, "127.0.0.1", 0, backlog=4096)
        self.url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/v1"
        started.set()
        await self._stop.wait()
        server.close()
        tasks = asyncio.all_tasks() - {asyncio.current_task()}
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            await self._behaviour(Wire(reader, writer))
        except asyncio.CancelledError:
            pass  # the server ends
        finally:
            writer.close()


def reply(body: dict[str, Any], *, met: bool | None = None) -> bytes:
    """The whole reply to a question, on a connection that is kept.

    Args:
        met: what it says, where that is not the truth.
    """
    text = body["messages"][-1]["content"]
    return http(json.dumps(completion(verdict(is_met(text) if met is None else met))).encode())


def http(body: bytes, status: str = "200 OK", *headers: str) -> bytes:
    lines = [f"HTTP/1.1 {status}", "Content-Type: application/json", *headers]
    return "\r\n".join([*lines, f"Content-Length: {len(body)}", "", ""]).encode() + body
