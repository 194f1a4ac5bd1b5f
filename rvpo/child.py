"""How other processes of Python are started."""

from __future__ import annotations

import sys


def python_module(name: str) -> tuple[str, ...]:
    """The command that runs an installed module, as `python -m` does.

    The working folder is not searched: a `queue.py` there would hide Python's own. Functions that
    settings name are still found in it, see `rvpo.imports`.
    """
    return (sys.executable, "-P", "-m", name)
