"""Tools in processes of their own: one that crashes Python, or fills memory, costs its episode."""

from __future__ import annotations

import json
import subprocess
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from multiprocessing import Pipe
from typing import Any, Final

from rvpo.environments.calling import Raised
from rvpo.environments.environment import ToolFailed
from rvpo.environments.tool import Tool
from rvpo.runtime.process import Child, Log, end_all, python_module

_LOG_BYTES: Final = 2**16
_END_S: Final = 2.0
"""Seconds that a process may take to end by itself."""


class Isolated:
    """Processes in which functions are called, one call at a time in each. There are as many as
    there are calls at the same time; the next call replaces one that ended.

    Args:
        functions: `function` and `arguments` of each tool, as the settings have them.
        seconds: time of a call, after which its process is killed.
    """

    def __init__(self, functions: Sequence[dict[str, Any]], seconds: float) -> None:
        self._functions = json.dumps(functions).encode()
        self._seconds = seconds
        self._changing = threading.Lock()
        self._idle: list[_Worker] = []
        self._all: set[_Worker] = set()
        self._is_closed = False

    def tools(self, tools: Sequence[Tool]) -> list[Tool]:
        """The functions as tools whose calls are made there.

        Args:
            tools: the same in this process.
        """
        return [replace(tool, function=self._there(n, tool.name)) for n, tool in enumerate(tools)]

    def close(self) -> None:
        """End all of them. Calling it twice does no harm."""
        with self._changing:
            self._is_closed = True
            workers, idle = list(self._all), self._idle
            self._idle = []
        end_all([worker.child for worker in workers], _END_S)
        for worker in idle:  # who waits for another takes leave of it
            self._give_back(worker)

    def _there(self, number: int, name: str) -> Callable[..., str]:
        def called(**arguments: Any) -> str:
            return self._called(number, name, arguments)

        called.__qualname__ = name  # which messages tell
        return called

    def _called(self, number: int, name: str, arguments: Mapping[str, Any]) -> str:
        """The result of a call, as the policy reads it.

        Raises:
            Raised: the function raised.
            ToolFailed: it raised that; or its process ended, or was killed for it took too long.
        """
        worker = self._taken()
        try:
            found = worker.answer([number, arguments], self._seconds)
        except TimeoutError as error:
            raise ToolFailed(f"{name} did not return in time") from error
        except EOFError as error:
            raise ToolFailed(f"{name} ended its process: {worker.last_words()}") from error
        finally:
            self._give_back(worker)
        if "told" in found:
            return str(found["told"])
        raise ToolFailed(found["failed"]) if "failed" in found else Raised(*found["raised"])

    def _taken(self) -> _Worker:
        with self._changing:
            if self._is_closed:
                raise ToolFailed("the environment is closed")
            worker = self._idle.pop() if self._idle else _Worker(self._functions)
            self._all.add(worker)
            return worker

    def _give_back(self, worker: _Worker) -> None:
        with self._changing:
            if worker.is_ready and not self._is_closed:
                self._idle.append(worker)
                return
            self._all.discard(worker)
        worker.end()


class _Worker:
    """A process, and the connection to it."""

    def __init__(self, functions: bytes) -> None:
        self.is_ready = False
        """True where a call can be made in it."""
        self._functions = functions
        self._connection, its = Pipe()
        self._log = Log()
        module = python_module("rvpo.environments.tool_process")
        command, shared = (*module, str(its.fileno())), [its.fileno()]
        self.child = Child(command, self._log, stdout=subprocess.DEVNULL, shared=shared)
        its.close()

    def answer(self, call: Any, seconds: float) -> Any:
        """The answer to a call.

        Raises:
            EOFError: it ended.
            TimeoutError: it did not answer in time.
        """
        try:
            if not self.is_ready:
                self._connection.send_bytes(self._functions)
                self._connection.recv_bytes()  # however long it takes to import them
            self.is_ready = False
            self._connection.send_bytes(json.dumps(call).encode())
            if not self._connection.poll(seconds):
                raise TimeoutError
            found = json.loads(self._connection.recv_bytes())
        except (BrokenPipeError, ConnectionResetError) as error:
            raise EOFError from error
        self._log.bound(_LOG_BYTES)
        self.is_ready = True
        return found

    def last_words(self) -> str:
        """The way in which it ended."""
        self.child.wait(_END_S)
        return self.child.last_words() or "it went silent"

    def end(self) -> None:
        """Kill it."""
        self.child.end(0.0)
        self._connection.close()
        self._log.close()
