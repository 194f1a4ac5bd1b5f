"""Settings as trees, damaged: types swapped, names misspelt, values extreme."""

from __future__ import annotations

import random
from collections.abc import Sequence
from copy import deepcopy
from typing import Any

VALUES: Sequence[Any] = [
    *(None, True, False, 0, -1, 1, 2, 3, 7, 2**31, 2**63, 10**30, 10**400, -(10**400), 1e-300),
    *(1e308, -1.5, 0.5, float("nan"), float("inf"), "", " ", "x", "1", "1e400", "yes", "null"),
    *("ü日本", "\x1b[31m", "a\x85b", "\u202e", "a:b", "os:system", "tests.toy:vowels", "x" * 9000),
    *("$x_{$", "[/]", "..", "/", "/dev/null", "a..b", "%s {0} {x}", "grpo", "rar", "vllm"),
    *([], {}, [1, 2], ["a"], [[]], [None], {"name": "grpo"}, {"name": 3}, {"x": 1}, {1: 2}),
    *({"path": "a\x00b"}, {"start": 0, "end": 1}, {"start": -1, "end": 1e400}, {"": ""}),
]


def damaged(document: dict[str, Any], chance: random.Random) -> dict[str, Any]:
    """A copy with one to three places changed. Arguments of functions stay: what they mean is
    between a user and his function."""
    tree = deepcopy(document)
    for _ in range(chance.choice((1, 1, 1, 2, 3))):
        table, name = chance.choice(_places(tree))
        match chance.randrange(8):
            case 0:
                del table[name]
            case 1 if isinstance(table, dict):
                table[_misspelt(str(name), chance)] = table.pop(name)
            case 2 if isinstance(table, dict):
                table[chance.choice(("extra", "", "a.b", "\x07", "name", "ü", "x" * 300))] = 1
            case 3:
                table[name] = [table[name]]
            case 4 | 5 if isinstance(table[name], int | float):
                table[name] = table[name] * chance.choice((2, 3, 0.5, 10**6, 10**15))
            case _:
                table[name] = deepcopy(chance.choice(VALUES))
        if not tree:
            return tree
    return tree


def settings(document: dict[str, Any], chance: random.Random) -> list[str]:
    """Up to two settings of a command line, of a place of the document or of none."""
    found = []
    for _ in range(chance.choice((0, 0, 0, 1, 2))):
        path = [str(chance.choice(["update", "rollout", *document]))]
        inner = document.get(path[0])
        while isinstance(inner, dict) and inner and chance.random() < 0.8:
            path.append(str(chance.choice(list(inner))))
            inner = inner.get(path[-1])
        if "arguments" not in path:
            found.append(f"{'.'.join(path)}={chance.choice(VALUES)}")
    return found


def _places(tree: Any) -> list[tuple[Any, Any]]:
    """Every table or list with each of its names or places, arguments left out."""
    items = tree.items() if isinstance(tree, dict) else enumerate(tree)
    found: list[tuple[Any, Any]] = []
    for name, value in list(items):
        if name == "arguments":
            continue
        found.append((tree, name))
        if isinstance(value, dict | list):
            found += _places(value)
    return found or [({"x": 1}, "x")]


def _misspelt(name: str, chance: random.Random) -> str:
    place = chance.randrange(len(name) + 1)
    return name[:place] + chance.choice("xe_ü .") + name[place + chance.randrange(2) :]
