"""A command that ends with whoever started it:

    python -m rvpo.runtime.process_group [FOLDER] -- COMMAND...

The command runs in a process group of its own. The whole group is ended when the leash's standard
input closes, which it does however its owner dies, when the leash is terminated, and when the
command ends by itself and leaves others behind. Where the leash itself is killed, the kernel sends
SIGTERM to the command, and its owner ends all that it started (on Linux). SIGINT is left to the
owner. A folder that is named is the command's own, and gone with it.
"""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from functools import partial
from types import FrameType
from typing import Final

from rvpo.runtime.process import end_with_parent
from rvpo.runtime.tied import end_with

GRACE_S: Final = 5.0
"""Seconds between SIGTERM and SIGKILL."""

_POLL_S: Final = 0.05


def leash(command: Sequence[str]) -> int:
    """Run a command until it ends or nobody holds the leash any longer.

    Returns:
        Its exit status; 128 + the signal's number if one ended it, 127 if it cannot be run.
    """
    asked: list[int] = []

    def note(number: int, frame: FrameType | None) -> None:
        asked.append(number)

    def ignore(number: int, frame: FrameType | None) -> None:
        """A handler, because SIG_IGN would be inherited by the command."""

    signal.signal(signal.SIGTERM, note)
    signal.signal(signal.SIGINT, ignore)
    bind = partial(end_with, os.getpid(), signal.SIGTERM)
    try:
        process = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, process_group=0, preexec_fn=bind
        )
    except OSError as error:
        print(f"{command[0]} cannot be run: {error.strerror}", file=sys.stderr)
        return 127
    end_with_parent()
    while process.poll() is None and not asked:
        time.sleep(_POLL_S)
    end_group(process)
    status = process.wait()
    return status if status >= 0 else 128 - status


def end_group(process: subprocess.Popen[bytes]) -> None:
    """End a process and all else in the group it leads: SIGTERM, and SIGKILL after a while."""
    for number, patience_s in ((signal.SIGTERM, GRACE_S), (signal.SIGKILL, 2.0)):
        until = time.monotonic() + patience_s
        try:
            os.killpg(process.pid, number)
            while time.monotonic() < until:
                process.poll()  # a dead leader would count as one of the group until it is reaped
                os.killpg(process.pid, 0)
                time.sleep(_POLL_S)
        except ProcessLookupError:
            return


def main() -> None:
    at = sys.argv.index("--") if "--" in sys.argv else len(sys.argv)
    folders, command = sys.argv[1:at], sys.argv[at + 1 :]
    if len(folders) > 1 or not command:
        sys.exit("usage: python -m rvpo.runtime.process_group [FOLDER] -- COMMAND...")
    try:
        status = leash(command)
    finally:
        for folder in folders:
            shutil.rmtree(folder, ignore_errors=True)
    sys.exit(status)


if __name__ == "__main__":
    main()
