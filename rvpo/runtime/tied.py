"""A command that the kernel kills with whoever started it, on Linux:

    python -I -S tied.py PARENT COMMAND...

`PARENT` is the id of the process that starts it. The command takes this one's place, with its
standard input and output. Unlike a leash (`rvpo.runtime.process_group`) it needs no second process,
and it kills what never reads its standard input; what the command starts itself is not killed.
"""

from __future__ import annotations

import ctypes
import os
import signal
import sys
from typing import Final

_PR_SET_PDEATHSIG: Final = 1  # linux/prctl.h; as a program this file can import nothing of rvpo


def end_with(parent: int, number: int) -> None:
    """Have the kernel send this process a signal when its parent dies; on Linux, else nothing."""
    if sys.platform != "linux":
        return
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, number)
    if os.getppid() != parent:  # it is dead already
        os.kill(os.getpid(), number)


def tied(*command: str) -> tuple[str, ...]:
    """The command that ends with this process, however that dies."""
    return (sys.executable, "-I", "-S", __file__, str(os.getpid()), *command)


def main() -> None:
    parent, *command = sys.argv[1:]
    end_with(int(parent), signal.SIGKILL)
    try:
        os.execvp(command[0], command)
    except OSError as error:
        sys.exit(f"{command[0]} cannot be run: {error.strerror}")


if __name__ == "__main__":
    main()
