"""Answers in JSON that a schema describes."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping, Sequence
from functools import cache
from typing import Any, Final, Literal

from rvpo.rewards.completion import Completion, text_of
from rvpo.rewards.field import field_of
from rvpo.runtime.extras import Need, require
from rvpo.types import Failed, RewardScore

_FENCED: Final = re.compile(r"^```[ \t]*(?:json)?[ \t]*\n(.*?)^```[ \t]*$", re.DOTALL | re.M | re.I)


def valid(
    completions: Sequence[Completion],
    schema: Mapping[str, Any] | None = None,
    column: str | None = None,
    within: Literal["whole", "fences"] = "whole",
    **columns: Any,
) -> list[RewardScore]:
    """1 where a completion is JSON that fits the schema, else 0.

    Args:
        completions: the answers.
        schema: a JSON Schema; `{}` takes any JSON.
        column: name of the data's column with a schema, dotted where it lies deeper.
        within: `whole` takes nothing but JSON, `fences` also the last block in fences.

    Returns:
        None where a row has no schema; Failed where it has a wrong one, whatever the answer. A
        number that Python cannot hold is no JSON.

    Raises:
        ConfigError: jsonschema is not installed, or there is no such column.
        ValueError: not one of schema and column is given, or the schema is wrong.

    Source: JSON Schema, https://json-schema.org, draft 2020-12 or the one that `$schema` names; by
    the package jsonschema. Nothing is fetched: `$ref` leads to places in the same schema.
    """
    require("the reward rvpo.rewards.json_schema:valid", Need("schema"))
    if (schema is None) == (column is None):
        raise ValueError("give one of schema and column")
    if within not in ("whole", "fences"):
        raise ValueError(f"within must be 'whole' or 'fences', got {within!r}")
    if schema is not None:
        cells: Sequence[Any] = [json.dumps(schema)] * len(completions)
        _validator(json.dumps(schema))
    else:
        cells = field_of(columns, str(column))
    return [
        _score(text_of(completion), cell, within == "fences")
        for completion, cell in zip(completions, cells, strict=True)
    ]


def _score(text: str, cell: Any, fenced: bool) -> RewardScore:
    if cell is None:
        return None
    try:
        schema = cell if isinstance(cell, str) else json.dumps(cell)
        validator, lost = _validator(schema), _lost(schema)
    except (ValueError, TypeError) as error:  # of the row's own value
        return Failed(str(error))
    if lost is not None:
        return Failed(lost)
    blocks = _FENCED.findall(text) if fenced else []
    try:
        value = json.loads(
            blocks[-1] if blocks else text, parse_constant=_refused, parse_float=_finite
        )
        return float(validator.is_valid(value))
    except (ValueError, RecursionError, ArithmeticError):  # of the answer: too deep or too large
        return 0.0


def _refused(constant: str) -> Any:
    """NaN and Infinity, which Python reads and JSON does not have."""
    raise ValueError(constant)


def _finite(number: str) -> float:
    """A number, but not infinity, which is what Python makes of `1e400`."""
    value = float(number)
    return value if math.isfinite(value) else _refused(number)


@cache
def _validator(schema: str) -> Any:
    from jsonschema import FormatChecker  # type: ignore[import-untyped]
    from jsonschema.exceptions import SchemaError  # type: ignore[import-untyped]
    from jsonschema.validators import validator_for  # type: ignore[import-untyped]
    from referencing import Registry

    try:
        read = json.loads(schema)
        if not isinstance(read, dict | bool):
            raise ValueError(f"it is an object, got {json.dumps(read)}")
        if isinstance(read, dict) and not isinstance(read.get("$schema", ""), str):
            raise ValueError(f"$schema is a text, got {read['$schema']!r}")
        kind = validator_for(read)
        kind.check_schema(read, format_checker=FormatChecker(["regex"]))
    except (ValueError, RecursionError, SchemaError) as error:
        said = getattr(error, "message", str(error))
        raise ValueError(f"the schema is wrong: {said}") from error
    return kind(read, registry=Registry())


@cache
def _lost(schema: str) -> str | None:
    """Says of a reference that leads nowhere. All are looked up: an answer must not be able to
    choose whether to meet one."""
    from referencing import Registry, Resource
    from referencing.exceptions import Unresolvable
    from referencing.jsonschema import DRAFT202012

    resource = Resource.from_contents(json.loads(schema), default_specification=DRAFT202012)
    try:
        _follow(resource, Registry().resolver_with_root(resource))
    except Unresolvable as error:
        return f"the schema has a reference that leads nowhere: {error}"
    return None


def _follow(resource: Any, resolver: Any) -> None:
    contents = resource.contents
    if isinstance(contents, dict):
        for key in ("$ref", "$dynamicRef"):
            if isinstance(contents.get(key), str):
                resolver.lookup(contents[key])
    for inner in resource.subresources():
        _follow(inner, resolver.in_subresource(inner))
