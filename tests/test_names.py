"""One public type name has one meaning, and a docstring says what a thing is and not what it asks.

A text that opens with a question ("Whether …"), or with the preposition of a noun that it leaves
out ("Of the run"), is a riddle to whoever reads it away from its code, as in `rvpo settings`.
"""

from __future__ import annotations

import ast
import inspect
import re
from collections import defaultdict
from collections.abc import Iterable, Iterator
from pathlib import Path

import typer.main

import rvpo
from rvpo.cli import app
from rvpo.report.metrics import METRICS
from tests.syntax import parsed

PACKAGE = Path(rvpo.__file__).parent
QUESTIONS = "what whatever whether where who whoever whose which how when why"
HALVES = "of that if while until by as with without from for between"
RIDDLES = frozenset((QUESTIONS + " " + HALVES).split())


def modules() -> dict[str, ast.Module]:
    return {str(path.relative_to(PACKAGE)): parsed(path) for path in sorted(PACKAGE.rglob("*.py"))}


def texts(tree: ast.Module) -> Iterator[tuple[int, str]]:
    """The strings that are statements, with their lines: docstrings of modules, classes and
    functions at any depth, and those below a field or a constant."""
    for node in ast.walk(tree):
        match node:
            case ast.Expr(value=ast.Constant(value=str(text))):
                yield node.lineno, text


def of_scopes(tree: ast.Module) -> Iterator[str]:
    """The docstrings of the module, its classes and its functions."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            yield from filter(None, [ast.get_docstring(node)])


def placed() -> list[tuple[str, str]]:
    return [
        (f"{file}:{line}", text) for file, tree in modules().items() for line, text in texts(tree)
    ]


def entries(text: str) -> Iterator[str]:
    """The texts of a docstring's arguments, and of what it returns."""
    text = inspect.cleandoc(text)
    for section in re.findall(r"^(?:Args|Attributes):\n((?:    .*\n?|\n)+)", text, re.MULTILINE):
        yield from re.findall(r"^    \**\w+: (.*)", section, re.MULTILINE)
    yield from re.findall(r"^(?:Returns|Yields):\n    (.*)", text, re.MULTILINE)


def opens_with_riddle(text: str) -> bool:
    """True for a text whose first word, behind the shape of a tensor, asks or leaves out a noun."""
    found = re.match(r"\s*(?:\[[^\]]*\]\s+)?([^\W\d_]+)", text)
    return found is not None and found[1].casefold() in RIDDLES


def riddles(found: Iterable[tuple[str, str]]) -> list[tuple[str, str]]:
    return [(place, text.strip()[:50]) for place, text in found if opens_with_riddle(text)]


def types(tree: ast.Module) -> Iterator[tuple[str, str]]:
    """The public classes of a module and its aliases of types, with the text of what they mean."""
    for node in tree.body:
        match node:
            case ast.Assign(targets=[ast.Name(id=name)], value=value):
                if re.fullmatch(r"[A-Z]\w*[a-z]\w*", name):
                    yield name, ast.unparse(value)
    for node in ast.walk(tree):
        if isinstance(node, ast.ClassDef) and not node.name.startswith("_"):
            yield node.name, f"class on line {node.lineno}"


def test_a_public_type_name_has_one_meaning() -> None:
    meanings: dict[str, dict[str, str]] = defaultdict(dict)
    classes = 0
    for file, tree in modules().items():
        for name, meaning in types(tree):
            is_class = meaning.startswith("class on line")
            classes += is_class
            meanings[name][f"{file}: {meaning}" if is_class else meaning] = file
    assert classes > 200
    assert len(meanings) - classes > 50  # the aliases
    assert {name: found for name, found in meanings.items() if len(found) > 1} == {}


def test_a_module_has_a_docstring() -> None:
    assert [file for file, tree in modules().items() if not ast.get_docstring(tree)] == []


def test_a_docstring_opens_with_a_noun_or_a_verb() -> None:
    found = placed()
    proper = [text for tree in modules().values() for text in of_scopes(tree)]
    below_fields = len(found) - len(proper)
    assert len(proper) > 1500
    assert below_fields > 500
    assert riddles(found) == []


def test_an_argument_opens_with_a_noun_or_a_verb() -> None:
    found = [(place, entry) for place, text in placed() for entry in entries(text)]
    assert len(found) > 400
    assert riddles(found) == []


def test_the_printed_help_opens_with_a_noun_or_a_verb() -> None:
    commands = typer.main.get_command(app).commands
    found = [(name, command.help or "") for name, command in commands.items()]
    for name, command in commands.items():
        found += [
            (f"{name} {each.name}", getattr(each, "help", None) or "") for each in command.params
        ]
    assert len(found) > 30
    found += METRICS.items()
    assert [place for place, text in found if not text.strip()] == []
    assert riddles(found) == []


def test_riddles_are_found_wherever_a_docstring_stands() -> None:
    tree = ast.parse(
        '''"""Where it is."""
LIMIT = 1
"""Of the run."""
class A:
    """What is there."""
    class B:
        x: int
        """How often."""
        def f(self):
            """[N, M] whether it is so."""
            self.y = 1
            """By name.

            Args:
                a: good.
                *b: which of them
                    of the others.

            Returns:
                Where it lies,
                by name.
            """
if True:
    async def g():
        """Without any."""
'''
    )
    found = [(str(line), text) for line, text in texts(tree)]
    assert len(riddles(found)) == len(found) == 7
    assert [entry for _, text in found for entry in entries(text) if opens_with_riddle(entry)] == [
        "which of them",
        "Where it lies,",
    ]
