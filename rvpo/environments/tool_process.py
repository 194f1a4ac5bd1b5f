"""The process of `rvpo.environments.isolated`, in which functions are called.

    python -m rvpo.environments.tool_process DESCRIPTOR

On the descriptor of a connection it hears of the functions and then of one call after the other,
as JSON, and says what became of each.
"""

from __future__ import annotations

import asyncio
import json
import os
import sys
from collections.abc import Callable, Mapping
from contextlib import suppress
from functools import partial
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any, Final

from rvpo.environments.calling import is_async, outcome_of
from rvpo.environments.environment import ToolFailed
from rvpo.environments.tool import read_by_policy
from rvpo.runtime.imports import import_function
from rvpo.runtime.process import end_with_parent
from rvpo.runtime.variable import filled

_KILLED_FIRST: Final = "1000"
"""Linux's score of a process that is killed before all others where memory is short."""


def serve(connection: Connection) -> None:
    """Make calls until nobody asks."""
    functions: list[Callable[..., Any]] = []
    for number, each in enumerate(json.loads(connection.recv_bytes())):
        where = f"environment.functions[{number}]"
        function = import_function(each["function"], where)
        functions.append(partial(function, **filled(each["arguments"], f"{where}.arguments")))
    connection.send_bytes(b"ready")
    with asyncio.Runner() as runner:
        while True:
            number, arguments = json.loads(connection.recv_bytes())
            found = _found(runner, functions[number], arguments)
            connection.send_bytes(json.dumps(found).encode())


def _found(
    runner: asyncio.Runner, function: Callable[..., Any], arguments: Mapping[str, Any]
) -> dict[str, Any]:
    """The end of a call, for `rvpo.environments.isolated`."""
    own_process = os.getpid()
    found: dict[str, Any]
    try:
        begun = function(**arguments)
        found = {"told": read_by_policy(runner.run(begun) if is_async(function) else begun)}
    except BaseException as error:  # whatever it is, it belongs to who waits
        outcome = outcome_of(error)
        if isinstance(outcome, ToolFailed):
            found = {"failed": str(outcome)}
        else:
            found = {"raised": [outcome.kind, outcome.said]}
    if os.getpid() != own_process:  # it forked, and there are two of us
        os._exit(0)
    return found


if __name__ == "__main__":
    end_with_parent()
    with suppress(OSError):  # elsewhere than on Linux
        Path("/proc/self/oom_score_adj").write_text(_KILLED_FIRST)
    with suppress(EOFError):
        serve(Connection(int(sys.argv[1])))
