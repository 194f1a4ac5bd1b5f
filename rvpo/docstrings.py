"""Texts below the fields of a class, read from its source where they are shown."""

from __future__ import annotations

import ast
import inspect
import textwrap
from collections.abc import Iterator
from itertools import pairwise


def docstrings(cls: type) -> dict[str, str]:
    """The texts below the fields of a dataclass or a section, and of its bases, by name."""
    fields = getattr(cls, "model_fields", None) or getattr(cls, "__dataclass_fields__", {})
    found: dict[str, str] = {}
    for each in reversed(cls.__mro__):
        own = fields.keys() & inspect.get_annotations(each).keys()
        if own:
            found |= {name: text for name, text in _below(each) if name in own}
    return found


def _below(cls: type) -> Iterator[tuple[str, str]]:
    try:
        source = inspect.getsource(cls)
    except OSError:  # a class that a call made has no lines
        return
    (tree,) = ast.parse(textwrap.dedent(source)).body
    assert isinstance(tree, ast.ClassDef)
    for line, below in pairwise(tree.body):
        match line, below:
            case (
                ast.AnnAssign(target=ast.Name(id=name)),
                ast.Expr(value=ast.Constant(value=str(text))),
            ):
                yield name, inspect.cleandoc(text)
