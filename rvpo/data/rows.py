"""Rows of data from a Python function."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any, cast

from rvpo.errors import DataError
from rvpo.runtime.deepcopy import own
from rvpo.runtime.imports import import_function
from rvpo.runtime.own_code import line_of
from rvpo.runtime.redaction import Hidden
from rvpo.runtime.variable import filled, secrets_of

if TYPE_CHECKING:
    from rvpo.config.data import FunctionSource


def function_rows(source: FunctionSource, where: str) -> list[Any]:
    """Call the function of a source.

    Raises:
        ConfigError: it does not import, or a variable that it needs is not in the environment.
        DataError: it raised, or did not return rows.
    """
    function = import_function(source.function, f"{where}.function")
    arguments = filled(source.arguments, f"{where}.arguments")
    try:
        rows = function(**own(arguments))
        is_rows = isinstance(rows, Iterable) and not isinstance(rows, str | Mapping)
        rows = [plain(row) for row in rows] if is_rows else rows
    except (Exception, SystemExit) as error:  # the user's code, which can raise anything
        said = Hidden(secrets_of(source.arguments)).out_of(str(error))
        at = line_of(error, function)
        raise DataError(
            f"{where}.function: {source.function} failed: {type(error).__name__}: {said}"
            + (f" ({at})" if at else "")
        ) from error
    if not is_rows:
        raise DataError(
            f"{where}.function: {source.function} returned a value of type "
            f"{type(rows).__name__}; return a list of rows, each a dict"
        )
    return cast("list[Any]", rows)


def plain(value: Any) -> Any:
    """numpy arrays and numbers as Python's own, however deep; everything else as it is."""
    import numpy as np

    if isinstance(value, np.generic):
        return value.item()
    if isinstance(value, np.ndarray):
        return plain(value.tolist())
    if isinstance(value, Mapping):
        return {key: plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [plain(item) for item in value]
    return value
