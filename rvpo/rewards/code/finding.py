"""Parts of a test that are run: its code at the top, functions and classes in pytest's form.

A test of which nothing judges a program says nothing about it. Only the standard library is
imported: this is copied into the sandbox.
"""

from __future__ import annotations

import ast
import asyncio
import inspect
import itertools
import types
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from typing import Any, Final

_ENDS: Final = ("raises", "fail", "exit", "quit", "_exit")
"""Calls, beside those that begin with `assert`, by which a test judges."""


class UnrunError(Exception):
    """A test that cannot be run as it is meant, whatever the program."""


def judges(tree: ast.Module, *, as_main: bool) -> bool:
    """True where the code at a test's top asserts something, or calls a function of its own while
    something in the test does.

    Args:
        tree: the test.
        as_main: code under `if __name__ == "__main__"` is run.
    """
    functions = (ast.FunctionDef, ast.AsyncFunctionDef)
    own = {node.name for node in ast.walk(tree) if isinstance(node, functions)}
    run = list(_run(tree.body, as_main))
    calls_own = any(_name(node) in own for node in run)
    return any(map(_is_judge, ast.walk(tree) if calls_own else run))


def has_tests(tree: ast.Module) -> bool:
    """True where a test defines functions `test…`, classes with such methods, or `check`."""
    return any(
        isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
        and (node.name.startswith("test") or node.name == "check")
        for node in ast.walk(tree)
    )


def called_by(tree: ast.Module) -> frozenset[str]:
    """Names of what a test calls at its top."""
    return frozenset(map(_name, _run(tree.body, as_main=False)))


def functions_of(names: Mapping[str, Any], called: frozenset[str]) -> Iterator[Callable[[], Any]]:
    """Functions that pytest calls: those named `test…` and the methods of classes `Test…`, once
    for each of the values that `parametrize` gives them. One that returns False has failed.

    Args:
        names: those of the test, with their values.
        called: functions that the test calls itself, with arguments that it has for them.

    Raises:
        UnrunError: one takes a fixture.
    """
    for name, value in list(names.items()):
        if name.startswith("test") and isinstance(value, types.FunctionType):
            if name not in called or not inspect.signature(value).parameters:
                yield from _calls(value, value, [])
        elif name.startswith("Test") and isinstance(value, type) and _is_plain(value):
            for each, method in inspect.getmembers(value, inspect.isfunction):
                if each.startswith("test"):
                    is_static = isinstance(inspect.getattr_static(value, each), staticmethod)
                    call = partial(_on_instance, value, each)
                    above = getattr(value, "pytestmark", [])
                    yield from _calls(method, call, above, is_method=not is_static)


def _run(body: list[ast.stmt], as_main: bool) -> Iterator[ast.AST]:
    """The nodes that are run when a test is: not the inside of functions and classes."""
    waiting: list[ast.AST] = list(body)
    while waiting:
        node = waiting.pop()
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef | ast.Lambda):
            continue
        if isinstance(node, ast.If) and "__name__" in ast.dump(node.test) and not as_main:
            waiting += node.orelse
            continue
        yield node
        waiting += ast.iter_child_nodes(node)


def _name(node: ast.AST) -> str:
    """The name that a call calls."""
    match node:
        case ast.Call(func=ast.Name(id=name) | ast.Attribute(attr=name)):
            return str(name)
    return ""


def _is_judge(node: ast.AST) -> bool:
    name = _name(node)
    return isinstance(node, ast.Assert | ast.Raise) or name.startswith("assert") or name in _ENDS


def _is_plain(kind: type) -> bool:
    """True of a class that pytest takes tests from; unittest's are run by unittest."""
    return "__init__" not in vars(kind) and not hasattr(kind, "assertEqual")


def _on_instance(kind: type, name: str, **named: Any) -> Any:
    one = kind()
    for before in ("setup_class", "setup_method"):
        hook = getattr(one, before, None)
        if hook is not None:
            hook(*[None] * len(inspect.signature(hook).parameters))
    return getattr(one, name)(**named)


def _calls(
    function: Callable[..., Any], call: Callable[..., Any], above: Any, is_method: bool = False
) -> Iterator[Callable[[], Any]]:
    marks = [*above, *getattr(function, "pytestmark", [])]
    tables = [_table(*mark.args[:2], **mark.kwargs) for mark in marks if _gives_values(mark)]
    given = {name for table in tables for row in table for name in row}
    named = [
        each.name
        for each in list(inspect.signature(function).parameters.values())[is_method:]
        if each.default is each.empty
        and each.kind in (each.POSITIONAL_OR_KEYWORD, each.KEYWORD_ONLY)
    ]
    lacking = [name for name in named if name not in given]
    if lacking and all(tables):  # a table that is empty has no names to compare
        raise UnrunError(
            f"{function.__name__} takes the fixture '{lacking[0]}', which has no value"
        )
    if not all(tables):  # the program may have made it so
        yield lambda: False
    for rows in itertools.product(*tables):
        values = {name: value for row in rows for name, value in row.items()}
        is_async = inspect.iscoroutinefunction(function)
        yield partial(_awaited, call, values) if is_async else partial(call, **values)


def _gives_values(mark: Any) -> bool:
    return bool(mark.name == "parametrize")


def _table(argnames: Any, argvalues: Any, **_: Any) -> list[dict[str, Any]]:
    """The rows of pytest's `parametrize`: values by the names of arguments."""
    names = argnames.split(",") if isinstance(argnames, str) else list(argnames)
    names = [name.strip() for name in names if name.strip()]
    rows = []
    for each in argvalues:
        # pytest's `param` keeps its values beside an id and marks
        values = each.values if hasattr(each, "marks") and hasattr(each, "id") else each
        is_one = len(names) == 1 and values is each
        rows.append(dict(zip(names, [values] if is_one else values, strict=True)))
    return rows


def _awaited(call: Callable[..., Any], values: Mapping[str, Any]) -> Any:
    return asyncio.run(call(**values))
