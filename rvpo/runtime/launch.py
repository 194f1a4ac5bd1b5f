"""Several ranks on this machine: started together, ended together, one voice on the terminal."""

from __future__ import annotations

import os
import signal
import sys
import time
from collections.abc import Sequence
from contextlib import ExitStack, closing

from rvpo.errors import INTERRUPTED, USER_ERROR
from rvpo.runtime.environment import (
    LIFELINE,
    REASON,
    RENDEZVOUS,
    child_environment,
    rank_environment,
)
from rvpo.runtime.nccl import nccl_error
from rvpo.runtime.port import free_port
from rvpo.runtime.private_folder import lock_of, private_folder, remove_folder
from rvpo.runtime.process import Child, Log, python_module
from rvpo.runtime.signals import on_stop
from rvpo.runtime.terminal import printable

GRACE_S = 30.0
"""Longest time for the other ranks to end once one has, in seconds."""

_LOG_BYTES = 8192
_PYTHON_ERROR = 1
"""Exit status of a Python that an error ended."""
_MOST_LOG_BYTES = 1 << 22
"""Bytes of a rank's log in a temporary file that has no name and that nobody else could shorten."""
# Where ranks on one machine speak to one another, unless the user says otherwise.
_LOOPBACK = {"GLOO_SOCKET_IFNAME": "lo"} if os.path.exists("/sys/class/net/lo") else {}


def launch(
    arguments: Sequence[str],
    processes: int,
    program: Sequence[str] = python_module("rvpo"),
) -> int:
    """Run `program arguments` as ranks 0 to processes - 1 and wait for all of them.

    Rank 0 owns the standard output. Of what the ranks write to their standard errors only the
    reason of a failure is shown, once even where all of them have it. The first signal to stop
    is passed on once, for an orderly end; a second one kills. When a rank fails, the rest are
    terminated. Nothing is left running on return.

    Returns:
        The exit status: 0, that of the rank that failed first, or INTERRUPTED after a signal.
    """
    with ExitStack() as stack:
        logs, reasons = (
            [stack.enter_context(closing(Log())) for _ in range(processes)] for _ in range(2)
        )
        ranks: list[Child] = []
        stack.callback(_kill, ranks)
        asked: list[int] = []
        stack.enter_context(on_stop(asked.append))
        # A port would be open to every user, and to the network.
        meeting = private_folder("rvpo-ranks-")
        stack.callback(remove_folder, meeting)
        common = _common(processes, str(meeting / "ranks"))
        port = free_port()
        for rank, (log, reason) in enumerate(zip(logs, reasons, strict=True)):
            note = reason.file.fileno()
            place = rank_environment(rank, processes, port)
            ranks.append(
                Child(
                    [*program, *arguments],
                    log,
                    stdout=log.file if rank else None,
                    environment=common | place | {REASON: str(note)},
                    shared=[note, lock_of(meeting)],  # which they may outlive a killed launcher in
                )
            )
        failed = _wait(ranks, asked, logs)
        if failed is None:
            return 0
        if asked or ranks[failed].status() == INTERRUPTED:
            return INTERRUPTED
        if sys.stderr.isatty():
            sys.stderr.write("\x1b[?25h")  # a progress display that was cut off hid the cursor
        sentence = next(filter(None, (reason.text(_LOG_BYTES) for reason in reasons)), None)
        if sentence is not None:  # the cause, whichever rank it brought down first
            print(printable(sentence), file=sys.stderr)
            return USER_ERROR
        failed = _cause(failed, ranks)
        status = ranks[failed].status() or 0
        # NCCL's watchdog ends a process from a thread of its own: nothing in Python hears of it.
        known = nccl_error(logs[failed].text()) if status == -signal.SIGABRT else None
        if known is not None:
            print(printable(f"rvpo: {known}"), file=sys.stderr)
            return USER_ERROR
        _tell(failed, ranks[failed], logs[failed].text(_LOG_BYTES))
        return status if status > 0 else 128 - status


def say(sentence: str, is_cause: bool = True) -> None:
    """Print to stderr why this process gives up; a launched rank leaves that to its launcher, which
    shows the cause and none of its consequences in other ranks."""
    reason = os.environ.get(REASON)
    if reason is None or not is_cause:
        print(printable(sentence), file=sys.stderr)
    else:
        os.write(int(reason), printable(sentence).encode())


def _common(processes: int, meeting: str) -> dict[str, str]:
    """The part of the environment that is the same in every rank."""
    threads = max(1, len(os.sched_getaffinity(0)) // processes)
    return {
        "OMP_NUM_THREADS": str(threads),  # ranks that take every core each slow one another down
        **_LOOPBACK,
        **child_environment(),
        RENDEZVOUS: meeting,
        LIFELINE: "stdin",
    }


def _wait(ranks: Sequence[Child], asked: Sequence[int], logs: Sequence[Log]) -> int | None:
    """The rank that failed first, once all have ended; None if none failed."""
    first: int | None = None
    deadline = float("inf")
    forwarded = False
    while True:
        if asked and not forwarded:
            _send(ranks, signal.Signals(asked[0]))
            forwarded = True
        codes = [rank.status() for rank in ranks]
        failed = [index for index, code in enumerate(codes) if code]
        if failed and first is None:
            first = failed[0]
            deadline = time.monotonic() + GRACE_S
            if not asked:
                _send(ranks, signal.SIGTERM)
        if None not in codes:
            return first
        if len(asked) > 1 or time.monotonic() > deadline:
            _kill(ranks)
        for log in logs:
            log.bound(_MOST_LOG_BYTES)
        time.sleep(0.05)


def _cause(failed: int, ranks: Sequence[Child]) -> int:
    """The rank to tell of: one that ended by USER_ERROR and gave no reason lost another, and where
    an error of Python ended that one, its log has the reason."""
    if ranks[failed].status() != USER_ERROR:
        return failed
    return next((n for n, rank in enumerate(ranks) if rank.status() == _PYTHON_ERROR), failed)


def _send(ranks: Sequence[Child], number: signal.Signals) -> None:
    for rank in ranks:
        rank.ask(number)


def _kill(ranks: Sequence[Child]) -> None:
    for rank in ranks:
        rank.end(0.0)


def _tell(rank: int, child: Child, log: str) -> None:
    if (child.status() or 0) < 0:
        name = child.ending()
        memory = "; the machine may have run out of memory" if name == "SIGKILL" else ""
        again = "start again: --resume goes on from the last checkpoint, if there is one"
        print(f"rvpo: rank {rank} was ended by {name}{memory}; {again}", file=sys.stderr)
    else:
        said = printable(log) or f"it said nothing; {child.ending()}"
        print(f"rank {rank} failed:", said, sep="\n", file=sys.stderr)
