"""The meaning of the names that a test uses and does not define.

A program must be able to bring what its tests are about, whatever its name, and nothing that they
judge it with. Only the standard library is imported: this is copied into the sandbox.
"""

from __future__ import annotations

import ast
import builtins
import importlib
import importlib.util
import types
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final

from rvpo.rewards.code.wire import SOLUTION

_SHORT: Final = {"np": "numpy", "pd": "pandas", "plt": "matplotlib.pyplot", "tf": "tensorflow"}
"""Modules by the names that the field gives them."""


@dataclass(frozen=True)
class Names:
    """The names of a test."""

    used: frozenset[str]
    """Those that are the program's."""
    modules: dict[str, types.ModuleType]
    """Modules that it takes for granted; they are the tests' own, never the program's."""
    offered: list[str]
    """Names that `from solution import *` brings."""


def names_of(code: str, entry: str, defined: Sequence[str]) -> Names | None:
    """The meaning of a test's names; None where nothing of what it tests is the program's.

    A name of a module is that module where the test only takes from it what is there. A name of
    Python's own, such as `len`, is the program's where the test is about it: `entry` says so
    and the test has no `check` that is given it, or the test calls it and nothing else that a
    program could bring; of several, those called innermost.

    Args:
        code: the test.
        entry: the name that it is about; empty where nobody says.
        defined: names that the program has.
    """
    tree = ast.parse(code)
    bound = set(_bound(tree))
    imported = {alias for node in ast.walk(tree) for alias in _imported(node)}
    loaded = {n.id for n in ast.walk(tree) if isinstance(n, ast.Name)}
    modules = {
        name: module
        for name in loaded - bound - {entry}
        if (module := _module(name, tree)) is not None
    }
    pythons = {name for name in loaded if hasattr(builtins, name)}
    theirs = loaded - bound - pythons - modules.keys()
    is_about_others = bool(entry or theirs or "check" in bound or _imports_solution(tree))
    called = set(_called(tree)) & pythons - bound
    named = {entry} & pythons if "check" not in bound else set[str]()
    subject = named if is_about_others else _innermost(tree, called & set(defined))
    asserts = any(isinstance(node, ast.Assert) for node in ast.walk(tree))
    if asserts and called and not (is_about_others or subject):
        return None
    own = {name for name in defined if not hasattr(builtins, name)} | subject
    kept = own - modules.keys() - imported
    used = frozenset(loaded & kept | subject)
    return Names(used, modules, sorted(kept - bound))


def _bound(tree: ast.AST) -> Iterator[str]:
    """Names to which a test gives a meaning somewhere."""
    for node in ast.walk(tree):
        match node:
            case ast.FunctionDef() | ast.AsyncFunctionDef() | ast.ClassDef():
                yield node.name
            case ast.Name(ctx=ast.Store() | ast.Del()):
                yield node.id
            case ast.arg():
                yield node.arg
            case ast.ExceptHandler() if node.name:
                yield node.name
        yield from _imported(node)


def _imported(node: ast.AST) -> Iterator[str]:
    if isinstance(node, ast.Import | ast.ImportFrom):
        for alias in node.names:
            yield alias.asname or alias.name.partition(".")[0]


def _imports_solution(tree: ast.AST) -> bool:
    """True where a test names what it takes from the program."""
    return any(
        (
            isinstance(node, ast.ImportFrom)
            and node.module == SOLUTION
            and any(each.name != "*" for each in node.names)
        )
        or (isinstance(node, ast.Import) and any(each.name == SOLUTION for each in node.names))
        for node in ast.walk(tree)
    )


def _module(name: str, tree: ast.AST) -> types.ModuleType | None:
    """The module of a name, where a test uses nothing of the name but what the module has."""
    taken = [
        node.attr
        for node in ast.walk(tree)
        if isinstance(node, ast.Attribute)
        and isinstance(node.value, ast.Name)
        and node.value.id == name
    ]
    uses = sum(isinstance(node, ast.Name) and node.id == name for node in ast.walk(tree))
    path = _SHORT.get(name, name)
    if not taken or len(taken) < uses or path == SOLUTION:
        return None
    if importlib.util.find_spec(path.partition(".")[0]) is None:
        return None
    module = importlib.import_module(path)
    return module if all(hasattr(module, each) for each in taken) else None


def _called(tree: ast.AST) -> Iterator[str]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
            yield node.func.id


def _innermost(tree: ast.AST, names: set[str]) -> set[str]:
    """Names of which a call stands in that of no other: all where there is one alone."""
    found = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
            inside = {name for each in (*node.args, *node.keywords) for name in _called(each)}
            if node.func.id in names and not (inside & names - {node.func.id}):
                found.add(node.func.id)
    return found
