"""Instructions as the rows of data sets name them."""

from __future__ import annotations

import ast
import inspect
import json
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from rvpo.rewards.ifeval.aliases import ALIASES
from rvpo.rewards.ifeval.instructions import CHECKS, counted


class Instruction(NamedTuple):
    """One instruction of a prompt."""

    name: str
    arguments: Mapping[str, Any]

    def followed(self, text: str) -> bool:
        """True where a text follows it."""
        return CHECKS[self.name](text, **self.arguments)


def instructions_of(cell: Any, arguments: Any = None) -> list[Instruction]:
    """The instructions of a prompt.

    These shapes are read, as values or as JSON or Python text: a list of names with a list of
    `kwargs` beside it (IFEval); `{instruction_id, kwargs}`, or a list of these (open-instruct);
    `{func_name, …}` (RLVR-IFeval).

    Args:
        arguments: the `kwargs`, where the cell has but the names.

    Raises:
        ValueError: it has none of these shapes, an instruction is not known, or arguments of one
            are missing or wrong.
    """
    value = _parsed(cell)
    if isinstance(value, Mapping):
        return _of_mapping(value)
    names = [value] if isinstance(value, str) else value
    if not isinstance(names, Sequence) and not hasattr(names, "tolist"):
        raise ValueError(f"a {type(cell).__name__} names no instructions")
    names = _listed(names)
    if names and all(isinstance(_parsed(each), Mapping) for each in names):
        return [found for each in names for found in _of_mapping(_parsed(each))]
    given = _parsed(arguments)
    given = [given] if isinstance(given, Mapping) else _listed(given)
    if given and len(given) != len(names):
        raise ValueError(f"{len(names)} instructions have {len(given)} sets of arguments")
    given = given or [None] * len(names)
    return [_instruction(str(n), _parsed(a)) for n, a in zip(names, given, strict=True)]


def _of_mapping(value: Mapping[str, Any]) -> list[Instruction]:
    names = next(
        (value[key] for key in ("instruction_id_list", "instruction_id") if key in value), None
    )
    if names is not None:
        arguments = value.get("kwargs", value.get("instruction_kwargs"))
        return instructions_of(names, arguments)
    function = str(value.get("func_name"))
    if function not in ALIASES:
        known = "'instruction_id_list' and 'kwargs', or 'func_name'"
        raise ValueError(f"an instruction has {known}; this has {', '.join(map(str, value))}")
    name, renamed = ALIASES[function]
    return [_instruction(name, {renamed.get(key, key): each for key, each in value.items()})]


def _instruction(name: str, arguments: Any) -> Instruction:
    check = CHECKS.get(name)
    if check is None:
        raise ValueError(f"the instruction '{name}' is not one of IFEval's 25")
    taken = list(inspect.signature(check).parameters.values())[1:]
    arguments = {} if arguments in (None, "", []) else arguments
    if not isinstance(arguments, Mapping):
        raise ValueError(f"arguments of '{name}' have names, got {arguments!r}")
    given = {key: each for key, each in arguments.items() if each is not None}
    lacking = [p.name for p in taken if p.default is p.empty and p.name not in given]
    if lacking:
        raise ValueError(f"the instruction '{name}' needs {', '.join(lacking)}")
    return Instruction(
        name, {p.name: _argument(p, given[p.name], name) for p in taken if p.name in given}
    )


def _argument(parameter: inspect.Parameter, value: Any, name: str) -> Any:
    """A value of the kind that a check takes, so that no answer meets a wrong one."""
    kind = str(parameter.annotation)
    try:
        if kind == "int":
            return int(value)
        if kind.startswith("Sequence"):
            return list(map(str, [value] if isinstance(value, str) else value))
        if "relation" in parameter.name:
            counted(0, str(value), 0)
        return str(value)
    except (ValueError, TypeError, OverflowError) as error:
        raise ValueError(f"{parameter.name} of '{name}': {error}") from error


def _listed(value: Any) -> list[Any]:
    try:
        return [] if value is None or value == "" else list(value)
    except TypeError as error:
        raise ValueError(f"instructions and their arguments are lists, got {value!r}") from error


def _parsed(cell: Any) -> Any:
    if not isinstance(cell, str):
        return cell
    for read in (json.loads, ast.literal_eval):
        try:
            return read(cell)
        except (ValueError, SyntaxError, MemoryError, RecursionError):
            continue
    return cell
