"""The program of `rvpo.environments.isolated`, in which functions are called.

    python -m rvpo.environments.tool_process DESCRIPTOR

It imports the functions that the settings on its standard input name. For each connection that it
is handed through the socket with that descriptor, it forks off a *keeper*, and the keeper forks
off the process of the call. They say one JSON list a line, which begins with the call's number:
"begun", "told" or "failed" by the one, and "ended" by the other. A call is over when its process,
its connection or the run is gone; the keeper then kills whatever the function has started.
"""

from __future__ import annotations

import asyncio
import gc
import json
import os
import pickle
import select
import signal
import socket
import sys
from collections.abc import Callable, Sequence
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any, Final

from rvpo.environments.caller import ToolCaller
from rvpo.environments.calling import Raised, is_async, outcome_of
from rvpo.environments.calls_config import CallsConfig
from rvpo.environments.tool import read_by_policy
from rvpo.errors import ConfigError
from rvpo.runtime.process import ending
from rvpo.runtime.sandbox.kernel import PR_SET_CHILD_SUBREAPER, PR_SET_PDEATHSIG, pidfd_open, prctl

_LIFELINE: Final = 0
"""A pipe that closes with the run."""
_END_S: Final = 3
_KILLED_FIRST: Final = "1000"
"""Linux's score of a process that is killed before all others where memory is short."""


def main(asked: socket.socket) -> None:
    """Make a copy for each call until nobody asks."""
    config: CallsConfig = pickle.load(open(_LIFELINE, "rb", closefd=False))  # noqa: SIM115
    try:
        functions = [partial(each, **given) for _, each, given in config.filled_in()]
    except ConfigError as error:
        asked.sendall(" ".join(str(error).split()).encode())
        return
    outcome = partial(_outcome, functions, config.caller())
    gc.freeze()  # what is here already is shared by the copies
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    asked.sendall(b"ready")
    poller = select.poll()
    poller.register(asked, select.POLLIN)
    poller.register(_LIFELINE, 0)
    while all(each != _LIFELINE for each, _ in poller.poll()):
        number, connections, *_ = socket.recv_fds(asked, 8, 1)
        if not number:
            break
        for connection in connections:
            say = partial(_say, connection, int.from_bytes(number, "big"))
            if _forked(say) == 0:
                asked.close()
                _and_no_more(_keep, connection, say, outcome)
            os.close(connection)
    signal.signal(signal.SIGALRM, signal.SIG_DFL)
    signal.alarm(_END_S)  # modules may have started what does not end
    with suppress(ChildProcessError):
        os.wait()  # for all of them, since they are ignored


def _forked(say: Callable[..., None]) -> int:
    """The number of a new process, 0 in that one; below 0 where there is none."""
    try:
        return os.fork()
    except OSError as error:
        say("failed", str(error))
        return -1


def _and_no_more(work: Callable[..., None], *arguments: Any) -> None:
    """Do it, and end this process whatever comes."""
    status = 1
    try:
        work(*arguments)
        status = 0
    finally:
        os._exit(status)


def _keep(
    connection: int, say: Callable[..., None], outcome: Callable[[bytes], tuple[str, ...]]
) -> None:
    """Have a call made, and end all of it with its process, its connection or the run."""
    os.setsid()
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    prctl(PR_SET_CHILD_SUBREAPER, 1)  # what the call leaves behind becomes this one's
    keeper = os.getpid()
    process = _forked(say)
    if process == 0:
        _and_no_more(_call, keeper, connection, say, outcome)
    if process < 0:
        return
    poller = select.poll()
    poller.register(pidfd_open(process), select.POLLIN)
    poller.register(connection, select.POLLRDHUP)
    poller.register(_LIFELINE, 0)
    poller.poll()
    os.kill(process, signal.SIGKILL)
    status = os.waitstatus_to_exitcode(os.waitpid(process, 0)[1])
    with suppress(ChildProcessError):
        while True:
            if os.waitpid(-1, os.WNOHANG) == (0, 0):
                for left in Path(f"/proc/self/task/{keeper}/children").read_text().split():
                    os.kill(int(left), signal.SIGKILL)
                os.waitpid(-1, 0)
    say("ended", ending(status))


def _call(
    keeper: int,
    connection: int,
    say: Callable[..., None],
    outcome: Callable[[bytes], tuple[str, ...]],
) -> None:
    """Call a function and say what came of it, apart from the keeper's terminal and group."""
    prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != keeper:  # it is dead already
        os._exit(1)
    os.setsid()
    nowhere = os.open(os.devnull, os.O_RDWR)
    for standard in range(3):
        os.dup2(nowhere, standard)
    with suppress(OSError):
        Path("/proc/self/oom_score_adj").write_text(_KILLED_FIRST)
    own, place = os.getpid(), os.fstat(connection)
    with open(connection, "rb", closefd=False) as heard:
        request = heard.readline()
    say("begun")
    said = outcome(request)
    # It may have forked, and there are two of us; or put a file of its own in this place.
    if os.getpid() != own or not os.path.samestat(os.fstat(connection), place):
        os._exit(1)
    say(*said)


def _outcome(
    functions: Sequence[Callable[..., Any]], caller: ToolCaller, request: bytes
) -> tuple[str, ...]:
    name = ""
    try:
        place, name, arguments = json.loads(request)
        begun = functions[place](**arguments)
        result = asyncio.run(begun) if is_async(functions[place]) else begun
        told = caller.told(read_by_policy(result))
    except BaseException as error:  # whatever it is, it belongs to who waits
        raised = outcome_of(error)
        if not isinstance(raised, Raised):
            return "failed", caller.told(str(raised)).text
        told = caller.told_of_error(name, raised)
    return "told", told.text, told.failure


def _say(connection: int, number: int, *words: str) -> None:
    line = json.dumps([number, *words]).encode() + b"\n"
    with suppress(BrokenPipeError):  # nobody waits for it
        while line:
            line = line[os.write(connection, line) :]


if __name__ == "__main__":
    main(socket.socket(fileno=int(sys.argv[1])))
