"""Python functions that settings name by import path."""

from __future__ import annotations

import importlib
import os
import pkgutil
import re
import sys
from collections.abc import Callable, Iterable
from types import ModuleType
from typing import Any

from rvpo.errors import ConfigError, nearest
from rvpo.runtime.own_code import line_of

_PATH = re.compile(r"([A-Za-z_]\w*(?:\.[A-Za-z_]\w*)*):([A-Za-z_]\w*)")


def import_function(path: str, where: str) -> Callable[..., Any]:
    """The function behind `module:function`.

    A module in the current working directory is found too, after the installed ones. Importing
    a module runs it.

    Args:
        path: such as `rvpo.rewards.arithmetic:correct`.
        where: the setting that holds the path, for messages.

    Raises:
        ConfigError: the path has another form, there is no such module or function, the module
            fails when it is imported, or what it names cannot be called.
    """
    match = _PATH.fullmatch(path)
    if match is None:
        raise ConfigError(f"{where}: '{path}' is no import path; write module:function")
    module_name, name = match.groups()
    module = _import_module(module_name, where)
    if not hasattr(module, name):
        public = [n for n in vars(module) if not n.startswith("_")]
        raise ConfigError(f"{where}: {module_name} has no '{name}'{_meant(name, public)}")
    function = getattr(module, name)
    if not callable(function):
        raise ConfigError(
            f"{where}: {path} is a value of type {type(function).__name__}; name a function"
        )
    return function  # type: ignore[no-any-return]


def _import_module(name: str, where: str) -> ModuleType:
    # A console script does not search the working directory by itself. It goes last, so that a
    # folder called like an installed package does not hide the package.
    if os.getcwd() not in sys.path:
        sys.path.append(os.getcwd())
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as error:
        if error.name is not None and f"{name}.".startswith(f"{error.name}."):
            raise ConfigError(_no_module(error.name, where)) from None
        raise ConfigError(_fails(name, error, where)) from error
    except (Exception, SystemExit) as error:  # the user's code, which can raise anything
        raise ConfigError(_fails(name, error, where)) from error


def _no_module(name: str, where: str) -> str:
    parent = name.rpartition(".")[0]
    folders = getattr(sys.modules.get(parent), "__path__", ()) if parent else sys.path
    beside = [f"{parent}.{m.name}" if parent else m.name for m in pkgutil.iter_modules(folders)]
    found = f" in {os.getcwd()} or among the installed packages" if not parent else ""
    return f"{where}: no module '{name}'{found}{_meant(name, beside)}"


def _fails(name: str, error: BaseException, where: str) -> str:
    at = line_of(error)
    place = f" ({at})" if at else ""
    return f"{where}: importing {name} fails: {type(error).__name__}: {error}{place}"


def _meant(name: str, names: Iterable[str]) -> str:
    guess = nearest(name, list(names))
    return f"; did you mean '{guess}'?" if guess else ""
