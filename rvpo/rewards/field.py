"""A column of the data that a reward's arguments name."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from rvpo.errors import ConfigError, nearest


def field_of(columns: Mapping[str, Sequence[Any]], name: str) -> list[Any]:
    """[N] values of a column, or of a field of its values.

    Args:
        columns: every column of the data, [N] values each.
        name: a column; `reward_model.ground_truth` is the field of a mapping in one, which may be
            a text of JSON.

    Raises:
        ConfigError: there is no such column.
    """
    if name in columns:
        return list(columns[name])
    first, *path = name.split(".")
    if first not in columns:
        named = sorted(set(columns) - {"prompts", "completion_ids", "trainer_state"})
        guess = nearest(first, named)
        meant = f"; did you mean '{guess}'?" if guess else ""
        raise ConfigError(
            f"the data have no column '{first}', but {', '.join(named) or 'none'}; name one of "
            f"them in `arguments`{meant}"
        )
    values = list(columns[first])
    for key in path:
        values = [_inside(value, key) for value in values]
    return values


def _inside(value: Any, key: str) -> Any:
    """The field of a mapping; None where there is none."""
    if isinstance(value, str):
        try:
            value = json.loads(value)
        except ValueError:
            return None
    return value.get(key) if isinstance(value, Mapping) else None
