"""YAML read strictly and within bounds: plain data, or an error that names its line.

Two departures from PyYAML: a repeated key is an error (YAML 1.2, 3.2.1.3; PyYAML keeps the last
one in silence), and `1e-6` is the number it is in YAML 1.2 (PyYAML follows 1.1, where it is text).
The rest is 1.1: `no` is false and `010` is 8, which 1.2 reads as a text and as ten without a word.
"""

from __future__ import annotations

import re
from typing import Any, Final

import yaml

LONGEST: Final = 2**20
"""Characters of a file; settings are far shorter."""
MOST_VALUES: Final = 20_000
"""Values of a document, each counted as often as aliases repeat it."""
DEEPEST: Final = 60
"""Tables and lists inside one another."""

_FLOAT_TAG = "tag:yaml.org,2002:float"
_EXPONENT = re.compile(r"[-+]?(?:\.[0-9]+|[0-9]+(?:\.[0-9]*)?)[eE][-+]?[0-9]+\Z")
_LONGEST_SHOWN: Final = 40


def load(text: str) -> Any:
    """One YAML value, by the rules of files and settings alike.

    Raises:
        yaml.YAMLError: it is none, or too much of one.
    """
    if len(text) > LONGEST:
        raise yaml.YAMLError(f"it has {len(text):,} characters; at most {LONGEST:,} are read")
    try:
        value = yaml.load(text, Loader=_Loader)  # a SafeLoader: builds plain data only
    except RecursionError:
        raise yaml.YAMLError(_TOO_DEEP) from None
    _measure(value, 0, [0])
    return value


def reason(error: yaml.YAMLError) -> str:
    """The problem and its place, on one line."""
    if isinstance(error, yaml.MarkedYAMLError) and error.problem_mark is not None:
        mark = error.problem_mark
        return f"line {mark.line + 1}, column {mark.column + 1}: {error.problem or error.context}"
    return " ".join(str(error).split())


_TOO_MANY: Final = f"it holds more than {MOST_VALUES:,} values, aliases counted"
_TOO_DEEP: Final = f"tables and lists are nested more than {DEEPEST} deep"


def _measure(value: Any, depth: int, count: list[int]) -> None:
    """Refuse what aliases make endless, or far larger than the text is."""
    count[0] += 1
    if depth > DEEPEST:
        raise yaml.YAMLError(f"{_TOO_DEEP}, or an alias stands inside what it names")
    if count[0] > MOST_VALUES:
        raise yaml.YAMLError(_TOO_MANY)
    inside = value.values() if isinstance(value, dict) else value if _is_list(value) else ()
    for each in inside:
        _measure(each, depth + 1, count)


def _is_list(value: Any) -> bool:
    return isinstance(value, list | tuple | set)


class _Loader(yaml.SafeLoader):
    values = 0

    def compose_node(self, parent: yaml.Node | None, index: Any) -> yaml.Node | None:
        # Counted while they are read, for reading many takes long.
        is_key = isinstance(parent, yaml.MappingNode) and index is None
        self.values += not is_key
        if self.values > MOST_VALUES:
            raise yaml.YAMLError(_TOO_MANY)
        return super().compose_node(parent, index)

    def compose_mapping_node(self, anchor: Any) -> yaml.MappingNode:
        node = super().compose_mapping_node(anchor)
        seen: dict[str, int] = {}
        for key, _ in node.value:
            if not isinstance(key, yaml.ScalarNode):
                continue
            line = key.start_mark.line + 1
            if key.value in seen:
                raise yaml.MarkedYAMLError(
                    problem=f"'{key.value}' stands on line {seen[key.value]} already; keep one",
                    problem_mark=key.start_mark,
                )
            seen[key.value] = line
        return node

    def construct_object(self, node: yaml.Node, deep: bool = False) -> Any:
        # What looks like a date or a number, or is tagged as one, need not be one.
        try:
            return super().construct_object(node, deep)
        except (ValueError, LookupError, TypeError, AttributeError, ArithmeticError):
            kind = node.tag.rpartition(":")[2]
            shown = str(node.value)[:_LONGEST_SHOWN] if isinstance(node, yaml.ScalarNode) else ""
            raise yaml.MarkedYAMLError(
                problem=f"'{shown}' is no {kind} that can be read; put text in quotes",
                problem_mark=node.start_mark,
            ) from None


# The dumper of settings must know this rule: the text "1e-6" has to be quoted to stay text.
_Loader.add_implicit_resolver(_FLOAT_TAG, _EXPONENT, list("-+.0123456789"))


def add_rules(dumper: type[yaml.SafeDumper]) -> None:
    """Let a dumper quote what the loader would read as a number."""
    dumper.add_implicit_resolver(_FLOAT_TAG, _EXPONENT, list("-+.0123456789"))
