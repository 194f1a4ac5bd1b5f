"""Tools in processes of their own: one that ends Python, or fills memory, costs its episode."""

from __future__ import annotations

import asyncio
import itertools
import json
import pickle
import socket
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, Final

from rvpo.environments.answering import CallResult
from rvpo.environments.caller import TimeLeft, ToolCaller
from rvpo.environments.calls_config import CallsConfig
from rvpo.environments.environment import ToolFailed
from rvpo.environments.tool import Tool
from rvpo.runtime.process import Child, Log, python_module

START_S: Final = 30.0
"""Seconds in which a process must have started."""
_END_S: Final = 5.0
"""Seconds in which one that is told to end must have ended."""
_POLL_S: Final = 0.01
_LONGEST: Final = 2**16
"""Bytes of an answer beside its text."""
_BYTES: Final = 6
"""Bytes that a character of it may take as JSON."""


@dataclass(frozen=True)
class IsolatedCaller(ToolCaller):
    """Makes each call in a process of its own."""

    processes: ToolProcesses

    async def close(self) -> None:
        """See `ToolCaller.close`."""
        await super().close()
        await asyncio.to_thread(self.processes.close)

    async def _made(self, tool: Tool, arguments: Mapping[str, Any], left: TimeLeft) -> CallResult:
        return await self.processes.result(tool.name, arguments, left)


class ToolProcesses:
    """Calls functions, each call in a copy of a process that has imported them. The copy ends with
    the call, and with it all that the function started.

    Args:
        names: those of the tools, in the order of the functions.
        start_s: seconds in which a copy must have started.

    Raises:
        ToolFailed: the process did not start.
    """

    def __init__(self, config: CallsConfig, names: Sequence[str], start_s: float = START_S) -> None:
        self._names = names
        self._seconds = config.seconds
        self._longest = _LONGEST + _BYTES * config.result_characters
        self._start_s = start_s
        self._room = asyncio.Semaphore(config.at_once)
        self._starting = asyncio.Lock()
        self._numbers = itertools.count()
        try:
            self._settings = pickle.dumps(config)
        except (pickle.PicklingError, TypeError, AttributeError) as error:
            raise ToolFailed(f"an argument cannot be handed to it ({error}); give text") from error
        self._is_closed = False
        self._origin = Origin(self._settings)

    def close(self) -> None:
        """End them. Calling it twice does no harm."""
        self._is_closed = True
        self._origin.close()

    async def result(self, name: str, arguments: Mapping[str, Any], left: TimeLeft) -> CallResult:
        """The result of a call, as the policy is told it.

        Args:
            left: stands still until the function is called.

        Raises:
            ToolFailed: it raised that, ended its process or did not return in time; or the process
                did not start, or something in it wrote to the run.
        """
        left.stop()
        async with self._room:
            await self._revive()
            call = _Call(next(self._numbers), self._longest)
            try:
                await self._begin(call, name, arguments)
                left.go()
                async with asyncio.timeout(left.seconds):
                    said, last = await call.said(), await call.said()
            except TimeoutError as error:
                raise ToolFailed(
                    f"{name} did not return in {self._seconds:g} s, which all calls of a turn share"
                ) from error
            finally:
                await call.end()
        match said, last:
            case ["told", str(text), str(failure)], ["ended", _]:
                return CallResult(text, failure)
            case ["failed", str(reason)], _:
                raise ToolFailed(reason)
            case ["ended", str(ending)], _:
                raise ToolFailed(f"{name} ended its process ({ending})")
        raise ToolFailed(f"{name}: its process was lost, or something in it wrote to the run")

    async def _revive(self) -> None:
        async with self._starting:
            if self._origin.is_lost() and not self._is_closed:
                self._origin.close()
                self._origin = await asyncio.to_thread(Origin, self._settings)

    async def _begin(self, call: _Call, name: str, arguments: Mapping[str, Any]) -> None:
        try:
            async with asyncio.timeout(self._start_s):
                await call.begin(self._origin, [self._names.index(name), name, arguments])
        except TimeoutError as error:
            late = f"its process did not start in {self._start_s:g} s"
            raise ToolFailed(f"{name}: {late}") from error
        except OSError as error:
            raise ToolFailed(f"{name} got no process: {error}") from error


class Origin:
    """The process that has imported the functions, of which each call gets a copy.

    Args:
        settings: a pickled `CallsConfig`.

    Raises:
        ToolFailed: it did not start.
    """

    def __init__(self, settings: bytes) -> None:
        try:
            self._log = Log()
            self._asking, its = socket.socketpair()
            with its:
                command = (*python_module("rvpo.environments.tool_process"), str(its.fileno()))
                to, shared = self._log.file, [its.fileno()]
                self._child = Child(command, self._log, stdout=to, hello=settings, shared=shared)
        except OSError as error:
            raise ToolFailed(f"the process of the tools: {error}") from error
        self._asking.settimeout(START_S)
        try:
            said = self._asking.recv(_LONGEST).decode(errors="replace")
        except TimeoutError:
            said = f"it did not start in {START_S:g} s"
        if said != "ready":
            self._child.wait(0.0 if said else _END_S)
            reason = said or self._child.last_words()
            self.close()
            raise ToolFailed(f"the process of the tools: {reason}")
        self._asking.setblocking(False)

    def is_lost(self) -> bool:
        """True where it ended by itself."""
        return self._child.status() is not None

    async def copied(self, number: int) -> socket.socket:
        """A connection to a copy of it, which is told its number.

        Raises:
            OSError: there is none.
        """
        ours, its = socket.socketpair()
        with its:
            while True:
                try:
                    socket.send_fds(self._asking, [number.to_bytes(8, "big")], [its.fileno()])
                    return ours
                except BlockingIOError:  # it has many to make
                    await asyncio.sleep(_POLL_S)
                except OSError:
                    ours.close()
                    raise

    def close(self) -> None:
        """End it; copies end with their calls. Calling it twice does no harm."""
        self._asking.close()
        self._child.end(_END_S)
        self._log.close()


class _Call:
    """The process of a call."""

    def __init__(self, number: int, longest: int) -> None:
        self._number = number
        self._longest = longest
        self._streams: tuple[asyncio.StreamReader, asyncio.StreamWriter] | None = None
        self._patience_s = 0.0

    async def begin(self, origin: Origin, request: Any) -> None:
        """Have the function called.

        Raises:
            OSError: it cannot be.
        """
        connection = await origin.copied(self._number)
        self._streams = await asyncio.open_unix_connection(sock=connection, limit=self._longest)
        self._streams[1].write(json.dumps(request).encode() + b"\n")
        said = await self.said()
        if said != ["begun"]:
            raise OSError(" ".join(map(str, said[1:])) or "it was lost")
        self._patience_s = _END_S

    async def said(self) -> list[Any]:
        """Words that it says next; none at its end, and where they are not those of this call."""
        assert self._streams is not None
        try:
            number, *said = json.loads(await self._streams[0].readline())
        except (ConnectionError, ValueError, TypeError, RecursionError):
            return []
        return said if number == self._number else []

    async def end(self) -> None:
        """Kill it, and what it started, where it is still there."""
        if self._streams is None:
            return
        reader, writer = self._streams
        with suppress(OSError):  # a TimeoutError among them
            async with asyncio.timeout(self._patience_s):
                writer.write_eof()
                while await reader.read(self._longest):
                    pass
        writer.transport.abort()
