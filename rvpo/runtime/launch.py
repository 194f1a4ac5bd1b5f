"""Several ranks on this machine: started together, ended together, one voice on the terminal."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from types import FrameType
from typing import IO

from rvpo.runtime.parent_death import end_with_parent
from rvpo.runtime.subprocess import python_module
from rvpo.runtime.terminal import printable

GRACE_S = 30.0
"""Longest time for the other ranks to end once one has, in seconds."""

_USER_ERROR = 2
# Where ranks on one machine speak to one another, unless the user says otherwise.
_LOOPBACK = {"GLOO_SOCKET_IFNAME": "lo"} if os.path.exists("/sys/class/net/lo") else {}
LAUNCHER = "RVPO_LAUNCHER"
"""The environment variable with the process without which a rank must not live."""
RENDEZVOUS = "RVPO_RENDEZVOUS"
"""The environment variable with the file in which the ranks of a launcher find one another."""
_REASON = "RVPO_REASON_FD"


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
        The exit status: 0, that of the rank that failed first, or 128 + the signal's number.
    """
    from rvpo.runtime.ranks import free_port  # torch with it, which no rank should wait for here

    with ExitStack() as stack:
        logs = [stack.enter_context(tempfile.TemporaryFile()) for _ in range(processes)]
        reasons = [stack.enter_context(tempfile.TemporaryFile()) for _ in range(processes)]
        ranks: list[subprocess.Popen[bytes]] = []
        stack.callback(_kill, ranks)
        asked = stack.enter_context(_signals())
        port = free_port()
        # Of mode 0700: a port would be open to every user, and to the network.
        meeting = stack.enter_context(tempfile.TemporaryDirectory(prefix="rvpo-ranks-"))
        for rank in range(processes):
            log = logs[rank]
            note = reasons[rank].fileno()
            ranks.append(
                subprocess.Popen(
                    [*program, *arguments],
                    env=_environment(rank, processes, port)
                    | {_REASON: str(note), RENDEZVOUS: os.path.join(meeting, "ranks")},
                    pass_fds=[note],
                    stdin=subprocess.DEVNULL,
                    stdout=log if rank else None,
                    stderr=log,
                    process_group=0,  # the terminal's Ctrl-C reaches the launcher alone
                )
            )
        failed = _wait(ranks, asked)
        if failed is None:
            return 0
        if asked:
            return 128 + asked[0]
        if sys.stderr.isatty():
            sys.stderr.write("\x1b[?25h")  # a progress display that was cut off hid the cursor
        reason = next(filter(None, map(_tail, reasons)), None)
        if reason is not None:  # the cause, whichever rank it brought down first
            print(printable(reason), file=sys.stderr)
            return _USER_ERROR
        status = ranks[failed].returncode
        _tell(failed, status, _tail(logs[failed]))
        return status if status > 0 else 128 - status


def stop_signals() -> tuple[signal.Signals, ...]:
    """Signals that ask a run to stop, from a person, a scheduler, a job's time limit, a terminal
    that closes, unless whoever started it lets that pass (nohup)."""
    asked = (
        *(signal.SIGINT, signal.SIGTERM, signal.SIGUSR1, signal.SIGUSR2),
        signal.SIGXCPU,
    )
    lets_pass = signal.getsignal(signal.SIGHUP) is signal.SIG_IGN
    return asked if lets_pass else (*asked, signal.SIGHUP)


def say(sentence: str) -> None:
    """Print to stderr why this process gives up; a launched rank leaves that to its launcher."""
    reason = os.environ.get(_REASON)
    if reason is None:
        print(printable(sentence), file=sys.stderr)
    else:
        os.write(int(reason), printable(sentence).encode())


def end_with_launcher() -> None:
    """Have the kernel terminate this rank if its launcher dies without ending it."""
    launcher = os.environ.get(LAUNCHER)
    if launcher is not None:
        end_with_parent(int(launcher))


def _environment(rank: int, processes: int, port: int) -> dict[str, str]:
    threads = max(1, len(os.sched_getaffinity(0)) // processes)
    return {
        "OMP_NUM_THREADS": str(threads),  # ranks that take every core each slow one another down
        **_LOOPBACK,
        **os.environ,
        "RANK": str(rank),
        "LOCAL_RANK": str(rank),
        "WORLD_SIZE": str(processes),
        "LOCAL_WORLD_SIZE": str(processes),
        "MASTER_ADDR": "127.0.0.1",
        "MASTER_PORT": str(port),
        LAUNCHER: str(os.getpid()),
    }


def _wait(ranks: Sequence[subprocess.Popen[bytes]], asked: Sequence[int]) -> int | None:
    """The rank that failed first, once all have ended; None if none failed."""
    first: int | None = None
    deadline = float("inf")
    forwarded = False
    while True:
        if asked and not forwarded:
            _send(ranks, signal.Signals(asked[0]))
            forwarded = True
        codes = [rank.poll() for rank in ranks]
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
        time.sleep(0.05)


@contextmanager
def _signals() -> Iterator[list[int]]:
    """A list that fills with the requests to stop which arrive meanwhile."""
    asked: list[int] = []

    def note(number: int, frame: FrameType | None) -> None:
        asked.append(number)

    before = {number: signal.signal(number, note) for number in stop_signals()}
    try:
        yield asked
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _send(ranks: Sequence[subprocess.Popen[bytes]], number: signal.Signals) -> None:
    for rank in ranks:
        rank.send_signal(number)  # does nothing to one that has ended


def _kill(ranks: Sequence[subprocess.Popen[bytes]]) -> None:
    """Each rank with whatever it started, an engine process for one."""
    for rank in ranks:
        try:
            os.killpg(rank.pid, signal.SIGKILL)
        except ProcessLookupError:
            continue
    for rank in ranks:
        rank.wait()


def _tell(rank: int, status: int, log: str) -> None:
    if status < 0:
        name = signal.Signals(-status).name
        memory = "; the machine may have run out of memory" if name == "SIGKILL" else ""
        again = "continue with --resume from the last checkpoint"
        print(f"rvpo: rank {rank} was ended by {name}{memory}; {again}", file=sys.stderr)
    else:
        print(f"rank {rank} failed:", printable(log), sep="\n", file=sys.stderr)


def _tail(file: IO[bytes]) -> str:
    file.seek(max(0, file.seek(0, os.SEEK_END) - 8192))
    return file.read().decode(errors="replace").strip()
