"""The multi-turn rows of BFCL: a user's turns, services in the state that they begin in, and the
calls that each turn is answered by."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from rvpo.benchmarks.bfcl.distribution import PINS, SETTING, Wheel
from rvpo.benchmarks.bfcl.rows import RowFile, is_function
from rvpo.benchmarks.bfcl.services import MODULES, read_call
from rvpo.errors import ConfigError
from rvpo.types import is_message

Functions = tuple[Mapping[str, Any], ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class MultiTurnRow:
    """One conversation."""

    id: str
    category: str
    turns: tuple[tuple[Mapping[str, str], ...], ...]
    """Messages of each turn; none where functions are added in their place."""
    functions: Functions
    """Those that there are from the first turn on."""
    added: Mapping[int, Functions]
    """Those that a turn adds, by its place."""
    scene: Mapping[str, Any]
    """`classes`, `config` and `long` of the services; see `rvpo.benchmarks.bfcl.services`."""
    ground_truth: tuple[tuple[str, ...], ...]
    """The calls of each turn, as text; none where a call cannot help."""


def load_multi_turn(wheel: Wheel, categories: Sequence[str]) -> list[MultiTurnRow]:
    """Rows of the categories, one category after the other, in the order of their files.

    Raises:
        ConfigError: the wheel is not the published one, whose code is run, or a file or row is not
            as it should be.
    """
    if categories and not wheel.is_pinned:
        raise ConfigError(
            f"{SETTING}: multi-turn categories run code that is in the wheel, and '{wheel.path}' "
            f"is not the published wheel of bfcl-eval=={PINS[wheel.version].release}; give that "
            "file, or leave path out"
        )
    documents = {name: _described(wheel, name) for name in MODULES} if categories else {}
    return [row for each in categories for row in _category(wheel, each, documents)]


def _described(wheel: Wheel, service: str) -> list[Mapping[str, Any]]:
    file = RowFile(wheel, f"multi_turn_func_doc/{MODULES[service]}.json", key="name")
    rows = file.rows()
    for name, row in rows.items():
        if not is_function(row):
            file.fail(name, "does not describe a function")
    return list(rows.values())


def _category(
    wheel: Wheel, category: str, documents: Mapping[str, Sequence[Mapping[str, Any]]]
) -> list[MultiTurnRow]:
    name = f"BFCL_{wheel.version}_{category}.json"
    file, truths = RowFile(wheel, name), RowFile(wheel, f"possible_answer/{name}")
    answers = truths.rows()
    return [
        _row(file, raw, category, documents, _truth(truths, answers.get(raw["id"]), raw["id"]))
        for raw in file.rows().values()
    ]


def _row(
    file: RowFile,
    raw: Mapping[str, Any],
    category: str,
    documents: Mapping[str, Sequence[Mapping[str, Any]]],
    truth: tuple[tuple[str, ...], ...],
) -> MultiTurnRow:
    turns, classes, config = (
        raw.get("question"),
        raw.get("involved_classes"),
        raw.get("initial_config"),
    )
    if not isinstance(turns, list) or not all(
        isinstance(turn, list) and all(map(is_message, turn)) for turn in turns
    ):
        file.fail(raw["id"], "has no list 'question' of turns, each a list of messages")
    if not isinstance(classes, list) or not all(name in documents for name in classes):
        file.fail(raw["id"], "has no list 'involved_classes' of services that there are")
    if not isinstance(config, dict):
        file.fail(raw["id"], "has no table 'initial_config'")
    left_out = raw.get("excluded_function", [])
    every = {
        each["name"]: each
        for name in classes
        for each in documents[name]
        if each["name"] not in left_out
    }
    missed = {int(turn): names for turn, names in raw.get("missed_function", {}).items()}
    held_back = {name for names in missed.values() for name in names}
    return MultiTurnRow(
        id=raw["id"],
        category=category,
        turns=tuple(map(tuple, turns)),
        functions=tuple(each for name, each in every.items() if name not in held_back),
        added={
            turn: tuple(every[n] for n in names if n in every) for turn, names in missed.items()
        },
        scene={"classes": classes, "config": config, "long": "long_context" in category},
        ground_truth=truth,
    )


def _truth(file: RowFile, raw: Any, key: str) -> tuple[tuple[str, ...], ...]:
    turns = raw.get("ground_truth") if isinstance(raw, dict) else None
    if not isinstance(turns, list) or not all(isinstance(turn, list) for turn in turns):
        file.fail(key, "has no list 'ground_truth' of turns, each a list of calls")
    try:
        for turn in turns:
            for call in turn:
                read_call(call)
    except (ValueError, AttributeError) as error:
        file.fail(key, f"has a call that cannot be read ({error})")
    return tuple(map(tuple, turns))
