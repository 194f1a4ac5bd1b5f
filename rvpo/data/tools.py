"""Tools and calls of tools as data write them, to those that a chat template takes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from rvpo.data.written import shown, written
from rvpo.errors import DataError


def read_tools(value: Any, where: str) -> tuple[Mapping[str, Any], ...]:
    """The tools of a row, a list or its text, each as OpenAI's API describes one; a bare function
    is wrapped so.

    Raises:
        DataError: they cannot be read.
    """
    if isinstance(value, str) and value.strip():
        value = written(value)
        if value is None:
            raise DataError(f"{where}: is text that is not JSON; give a list of tools")
    if not value:
        return ()
    tools = [value] if isinstance(value, Mapping) else value
    if not isinstance(tools, Sequence) or isinstance(tools, str):
        raise DataError(f"{where}: is {shown(value)}; give a list of tools")
    return tuple(_tool(tool, where) for tool in tools)


def read_calls(value: Any, where: str) -> list[dict[str, Any]]:
    """The calls of an assistant's turn, a list or its text, each as OpenAI's API has one; a bare
    call is wrapped so, and arguments as JSON text become a table.

    Raises:
        DataError: they cannot be read.
    """
    calls = written(value) if isinstance(value, str) else value
    calls = [calls] if isinstance(calls, Mapping) else calls
    if not isinstance(calls, Sequence) or isinstance(calls, str | bytes):
        raise DataError(f"{where}: holds the calls {shown(value)}; 'tool_calls' must be a list")
    return [_call(call, where) for call in calls]


def without_null(value: Mapping[str, Any]) -> dict[str, Any]:
    """Tables of columns have a null where a row lacks a field of another one."""
    return {name: item for name, item in value.items() if item is not None}


def _tool(value: Any, where: str) -> Mapping[str, Any]:
    tool = written(value) if isinstance(value, str) else value
    fields = without_null(tool) if isinstance(tool, Mapping) else {}
    function = fields.get("function", fields)
    if not isinstance(function, Mapping) or not isinstance(function.get("name"), str):
        raise DataError(
            f"{where}: holds {shown(value)}; a tool is a dict with a 'name', or with a 'function' "
            "that has one; rename the column if it holds something else"
        )
    if "function" in fields:
        return fields
    if function.get("type") == "function":  # a tool of OpenAI's other API, where it is not nested
        function = {name: item for name, item in function.items() if name != "type"}
    return {"type": "function", "function": function}


def _call(value: Any, where: str) -> dict[str, Any]:
    call = written(value) if isinstance(value, str) else value
    fields = without_null(call) if isinstance(call, Mapping) else {}
    function = fields.pop("function", None)
    if function is None:
        names = [name for name in ("name", "arguments", "parameters") if name in fields]
        function = {name: fields.pop(name) for name in names}
    if not isinstance(function, Mapping) or not isinstance(function.get("name"), str):
        raise DataError(
            f"{where}: holds the call {shown(value)}; a call is a dict with a 'name' and "
            "'arguments', or with a 'function' that has them"
        )
    function = dict(function)
    if "parameters" in function and "arguments" not in function:
        function["arguments"] = function.pop("parameters")
    arguments = function.get("arguments")
    if isinstance(arguments, str) and isinstance(table := written(arguments), dict):
        function["arguments"] = table
    return {"type": "function", **fields, "function": function}
