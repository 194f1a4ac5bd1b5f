"""Modules as syntax trees."""

from __future__ import annotations

import ast
from pathlib import Path


def parsed(path: Path) -> ast.Module:
    """The tree of a file. CPython 3.11 miscounts its depth, and says so by SystemError, where
    something else is parsed meanwhile, by another thread or a finaliser (gh-106905)."""
    text = path.read_text(encoding="utf-8")
    for _ in range(9):
        try:
            return ast.parse(text)
        except SystemError:
            continue
    return ast.parse(text)
