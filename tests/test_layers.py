"""The layers that CONTRIBUTING shows are those that import-linter holds, and they hold all."""

from __future__ import annotations

import ast
import re
import tomllib
from pathlib import Path
from typing import Any

from tests.syntax import parsed

ROOT = Path(__file__).parents[1]


def contract() -> dict[str, Any]:
    """The contract over the whole package."""
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    (found,) = [
        each
        for each in settings["tool"]["importlinter"]["contracts"]
        if each.get("containers") == ["rvpo"]
    ]
    return dict(found)


def shown() -> list[list[str]]:
    """The rooms in each line of the table of CONTRIBUTING, from the top."""
    text = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
    table = text.split("| layer |")[1].split("\n\n")[0]
    return [re.findall("`(.+?)`", line.split("|")[1]) for line in table.splitlines()[2:]]


def test_the_table_of_layers_is_the_contract() -> None:
    assert shown() == [layer.split(" | ") for layer in contract()["layers"]]


def test_every_module_has_a_layer() -> None:
    names = {
        path.stem
        for path in (ROOT / "rvpo").iterdir()
        if path.suffix == ".py" or (path / "__init__.py").exists()
    }
    assert names - {"__init__", "__main__"} == {name for layer in shown() for name in layer}
    assert contract()["exhaustive"]


def test_no_module_reaches_another_through_the_top_of_the_package() -> None:
    """The contract cannot see it: the top is for everybody."""
    names = {
        name.name
        for path in (ROOT / "rvpo").rglob("*.py")
        for node in ast.walk(parsed(path))
        if isinstance(node, ast.ImportFrom) and node.module == "rvpo" and not node.level
        for name in node.names
    }
    assert names == {"__version__"}
