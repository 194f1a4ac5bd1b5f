"""One session with an MCP server, through the protocol's own SDK."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

from rvpo.environments.environment import ToolFailed

if TYPE_CHECKING:
    from mcp import Client
    from mcp.types import CallToolResult


class McpConnection:
    """A server that is started or reached, and the session with it.

    The SDK wants what it opened to be closed by the same task, so each connection has one of its
    own. Calls may come from any task of the loop, at the same time.

    Args:
        client: makes the client, which nobody has entered.
    """

    def __init__(self, client: Callable[[], Client]) -> None:
        self._end = asyncio.Event()
        self._ready: asyncio.Future[Client] = asyncio.get_running_loop().create_future()
        self._calls = 0
        self._task = asyncio.create_task(self._live(client))
        self.is_retired = False
        """True where it takes no further call."""

    @property
    def is_over(self) -> bool:
        """True where nothing of it is left."""
        return self._task.done()

    async def client(self) -> Client:
        """The client, once the server answers.

        Raises:
            ToolFailed: it does not start.
        """
        return await asyncio.shield(self._ready)

    async def call(self, name: str, arguments: dict[str, Any], seconds: float) -> CallToolResult:
        """The result of a tool.

        Raises:
            ToolFailed: the server died, or did not answer in time; the connection is retired then.
            MCPError: the server has no such tool, or not with such arguments.
        """
        from mcp import MCPError
        from mcp.types import INVALID_PARAMS

        self._calls += 1
        try:
            async with asyncio.timeout(seconds):
                client = await self.client()
                return await client.call_tool(name, arguments)
        except TimeoutError:
            self.retire()
            late = f"{name} did not return" if self._ready.done() else "the server did not start"
            raise ToolFailed(f"{late} in {seconds:g} s") from None
        except ToolFailed:
            raise
        except Exception as error:  # servers of others, and a protocol with many errors
            if isinstance(error, MCPError) and error.code == INVALID_PARAMS:
                raise
            self.retire()
            raise ToolFailed(f"{name}: the server failed ({_words(error)})") from None
        finally:
            self._calls -= 1
            if self.is_retired and not self._calls:
                self._end.set()

    def retire(self) -> None:
        """Take no further calls, and end with the last one that is under way."""
        self.is_retired = True
        if not self._calls:
            self._end.set()

    async def close(self) -> None:
        """End it, and a server that it started."""
        self.is_retired = True
        self._end.set()
        if not self._ready.done():
            self._task.cancel()
        await asyncio.wait([self._task])

    async def _live(self, client: Callable[[], Client]) -> None:
        try:
            async with client() as entered:
                self._ready.set_result(entered)
                await self._end.wait()
        except asyncio.CancelledError:
            self._fail("was closed")
            raise
        except Exception as error:  # servers of others, and a protocol with many errors
            self._fail("; ".join(dict.fromkeys(map(_words, _single(error)))))

    def _fail(self, why: str) -> None:
        self.is_retired = True
        if not self._ready.done():
            self._ready.set_exception(ToolFailed(f"the server did not start: {why}"))
            self._ready.exception()  # read, where nobody waits for it


def _single(error: BaseException) -> Iterator[BaseException]:
    """The errors of a group."""
    if isinstance(error, BaseExceptionGroup):
        for each in error.exceptions:
            yield from _single(each)
    else:
        yield error


def _words(error: BaseException) -> str:
    return f"{type(error).__name__}: {error}" if str(error) else type(error).__name__
