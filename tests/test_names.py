"""One public type name has one meaning, and a module says what it is and not what it asks."""

from __future__ import annotations

import ast
from collections import defaultdict
from pathlib import Path

import rvpo
from tests.syntax import parsed

PACKAGE = Path(rvpo.__file__).parent
RIDDLES = {"What", "Whether", "Where", "Who", "Which", "How", "Of"}


def modules() -> dict[str, ast.Module]:
    return {str(path.relative_to(PACKAGE)): parsed(path) for path in sorted(PACKAGE.rglob("*.py"))}


def test_a_public_type_name_has_one_meaning() -> None:
    places: dict[str, list[str]] = defaultdict(list)
    for file, tree in modules().items():
        for node in ast.walk(tree):
            if isinstance(node, ast.ClassDef) and not node.name.startswith("_"):
                places[node.name].append(file)
    assert len(places) > 200
    assert {name: files for name, files in places.items() if len(files) > 1} == {}


def test_a_module_opens_with_a_noun_or_a_verb() -> None:
    openings = {file: (ast.get_docstring(tree) or "").split() for file, tree in modules().items()}
    assert [
        (file, " ".join(words[:6]))
        for file, words in openings.items()
        if not words or words[0].strip(".,:;") in RIDDLES
    ] == []
