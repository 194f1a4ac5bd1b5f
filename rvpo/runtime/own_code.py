"""The line of a user's own code at which an error arose."""

from __future__ import annotations

import inspect
import os
import sysconfig
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

_PACKAGE: Final = str(Path(__file__).parents[1])
_INSTALLED: Final = {sysconfig.get_path("purelib"), sysconfig.get_path("platlib")}
_STANDARD: Final = {sysconfig.get_path("stdlib"), sysconfig.get_path("platstdlib")}
_PYTHON: Final = "Python"
_OWN: Final = ""


def line_of(error: BaseException, function: Callable[..., Any] | None = None) -> str:
    """Place of an error, as `file.py:12`; empty where nothing shows it.

    An error arises deep in Python or in a package that a line of the user's asked for something. It
    is that line that can be mended: the last one outside of Python, of rvpo and of installed
    packages. Where the user's code has no part in it, it is the last line of the package that was
    called, or of rvpo.

    Args:
        function: the one that was called, which is named where it was not even entered.
    """
    if isinstance(error, SyntaxError) and not (error.filename or "<").startswith("<"):
        return ""  # its words end with the file and the line
    frames = [(each, _home(each.filename)) for each in traceback.extract_tb(error.__traceback__)]
    others = [home for _, home in frames if home not in (_PYTHON, _PACKAGE)]
    if others:
        home = _OWN if _OWN in others else others[0]
    elif (begun := _beginning(function)) and len(frames) < _LEAST:
        return begun
    else:
        home = _PACKAGE
    found = [each for each, of in frames if of == home]
    return f"{Path(found[-1].filename).name}:{found[-1].lineno}" if found else ""


_LEAST: Final = 2
"""Frames of an error that arose inside of a function, and not in calling it."""


def _beginning(function: Callable[..., Any] | None) -> str:
    """Line at which a function begins; of a class that of its `__init__`, or its own where Python
    or a package wrote that for it."""
    if function is None:
        return ""
    if inspect.isclass(function):
        code = getattr(function.__init__, "__code__", None)
        if code is None or _home(code.co_filename) != _OWN:
            return _beginning_of_class(function)
    else:
        code = getattr(inspect.unwrap(function), "__code__", None)
    return "" if code is None else f"{Path(code.co_filename).name}:{code.co_firstlineno}"


def _beginning_of_class(kind: type) -> str:
    try:
        return f"{Path(inspect.getfile(kind)).name}:{inspect.getsourcelines(kind)[1]}"
    except (OSError, TypeError):  # Python's own, or its file is gone
        return ""


def _home(filename: str) -> str:
    """The package that a file is of, or Python; empty for a file that is neither's."""
    if filename.startswith("<"):
        return _PYTHON
    path = os.path.abspath(filename)
    if _is_under(path, _PACKAGE):
        return _PACKAGE
    for folder in _INSTALLED:
        if _is_under(path, folder):
            return path[len(folder) + 1 :].partition(os.sep)[0]
    return _PYTHON if any(_is_under(path, folder) for folder in _STANDARD) else _OWN


def _is_under(path: str, folder: str) -> bool:
    return path.startswith(folder + os.sep)
