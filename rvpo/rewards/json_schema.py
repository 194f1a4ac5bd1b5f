"""Answers in JSON that a schema describes."""

from __future__ import annotations

import json
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
        None where a row has no schema; Failed where it has a wrong one.

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
    from jsonschema.exceptions import ValidationError  # type: ignore[import-untyped]
    from referencing.exceptions import Unresolvable

    if cell is None:
        return None
    try:
        validator = _validator(cell if isinstance(cell, str) else json.dumps(cell))
    except ValueError as error:
        return Failed(str(error))
    blocks = _FENCED.findall(text) if fenced else []
    try:
        value = json.loads(blocks[-1] if blocks else text, parse_constant=_refused)
    except (ValueError, RecursionError):
        return 0.0
    try:
        validator.validate(value)
    except (ValidationError, RecursionError):
        return 0.0
    except Unresolvable as error:
        return Failed(f"the schema has a reference that leads nowhere: {error}")
    return 1.0


def _refused(constant: str) -> Any:
    """NaN and Infinity, which Python reads and JSON does not have."""
    raise ValueError(constant)


@cache
def _validator(schema: str) -> Any:
    from jsonschema.exceptions import SchemaError
    from jsonschema.validators import validator_for  # type: ignore[import-untyped]
    from referencing import Registry

    try:
        read = json.loads(schema)
        kind = validator_for(read)
        kind.check_schema(read)
    except (ValueError, SchemaError) as error:
        said = getattr(error, "message", str(error))
        raise ValueError(f"the schema is wrong: {said}") from error
    return kind(read, registry=Registry())
