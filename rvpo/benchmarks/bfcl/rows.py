"""The single-turn rows of BFCL, of both versions under the category names of V4.

A row is read as it is written. What the original changes before it shows the functions to a model
is in `schema.py`; before it checks an answer it changes nothing.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, NoReturn

from rvpo.benchmarks.bfcl.distribution import Version, Wheel
from rvpo.errors import ConfigError
from rvpo.types import is_message

Language = Literal["python", "java", "javascript"]

NON_LIVE = (
    "simple_python",
    "simple_java",
    "simple_javascript",
    "multiple",
    "parallel",
    "parallel_multiple",
    "irrelevance",
)
LIVE = (
    "live_simple",
    "live_multiple",
    "live_parallel",
    "live_parallel_multiple",
    "live_irrelevance",
    "live_relevance",
)
SINGLE_TURN = NON_LIVE + LIVE
MULTI_TURN = tuple(f"multi_turn_{n}" for n in ("base", "miss_func", "miss_param", "long_context"))

_LANGUAGES: Mapping[str, Language] = {"simple_java": "java", "simple_javascript": "javascript"}
_V3_NAMES = {"simple_python": "simple", "simple_java": "java", "simple_javascript": "javascript"}
_BEYOND = ("web_search", "memory", "format_sensitivity")


@dataclass(frozen=True, slots=True)
class BfclRow:
    """One question."""

    id: str
    category: str
    language: Language
    messages: tuple[Mapping[str, str], ...]
    """The conversation so far, each a `role` and a `content`; some begin with a system message."""
    functions: tuple[Mapping[str, Any], ...]
    """Each a `name`, a `description` and `parameters`, whose types are BFCL's own. Four questions
    of live_irrelevance have none."""
    ground_truth: tuple[Mapping[str, Mapping[str, list[Any]]], ...]
    """The calls: {function: {parameter: accepted values}}, where an accepted "" says that the
    parameter may be left out. Empty for (ir)relevance."""


def name_of(category: str, version: Version) -> str:
    """Name of a category in a version, in its file names and for its checker."""
    return _V3_NAMES.get(category, category) if version == "v3" else category


def load(wheel: Wheel, categories: Sequence[str] = SINGLE_TURN) -> list[BfclRow]:
    """Rows of the categories, one category after the other, in the order of their files.

    Raises:
        ConfigError: a category is unknown or not single-turn, or a file or row is not as it
            should be.
    """
    for category in categories:
        _check_category(category)
    return [row for category in categories for row in _category(wheel, category)]


def _check_category(category: str) -> None:
    if category in SINGLE_TURN:
        return
    ours = {theirs: name for name, theirs in _V3_NAMES.items()}
    if category in ours:
        reason = f"is called {ours[category]} here"
    elif category.startswith(_BEYOND):
        reason = "needs what bfcl-eval runs beside it, which is not included"
    else:
        reason = "is no category of BFCL"
    raise ConfigError(
        f"benchmarks.bfcl.categories: {category!r} {reason}; choose from "
        f"{', '.join((*SINGLE_TURN, *MULTI_TURN))}"
    )


def _category(wheel: Wheel, category: str) -> list[BfclRow]:
    name = f"BFCL_{wheel.version}_{name_of(category, wheel.version)}.json"
    file = RowFile(wheel, name)
    raw = file.rows()
    answers = None
    if not category.endswith("relevance"):
        answer_file = RowFile(wheel, f"possible_answer/{name}")
        answers = {key: _truth(row, key, answer_file) for key, row in answer_file.rows().items()}
        if unmatched := raw.keys() ^ answers.keys():
            key = min(unmatched)
            file.fail(key, "has no answer" if key in raw else "is answered but not asked")
    return [
        _row(row, key, category, () if answers is None else answers[key], file)
        for key, row in raw.items()
    ]


@dataclass(frozen=True, slots=True)
class RowFile:
    """A file of one JSON table a line."""

    wheel: Wheel
    name: str
    key: str = "id"
    """Name of what tells rows apart."""

    def rows(self) -> dict[str, dict[str, Any]]:
        """Rows by their ids."""
        rows: dict[str, dict[str, Any]] = {}
        # Not splitlines: a string may hold a line separator of Unicode.
        for number, line in enumerate(self.wheel.text(self.name).split("\n"), start=1):
            if not line.strip():
                continue
            try:
                row = json.loads(line)
            except (ValueError, RecursionError) as error:  # the latter of JSON nested too deep
                self.fail(f"on line {number}", f"is no JSON ({error})")
            if not isinstance(row, dict) or not isinstance(row.get(self.key), str):
                self.fail(f"on line {number}", f"is no table with a text '{self.key}'")
            if row[self.key] in rows:
                self.fail(row[self.key], "is there twice")
            rows[row[self.key]] = row
        return rows

    def fail(self, row: str, what: str) -> NoReturn:
        """Refuse a row.

        Raises:
            ConfigError: in any case.
        """
        raise ConfigError(
            f"{self.wheel.path}: {self.name}: row {row} {what}; use the published wheel"
        )


def _row(
    raw: Mapping[str, Any],
    key: str,
    category: str,
    truth: tuple[Mapping[str, Mapping[str, list[Any]]], ...],
    file: RowFile,
) -> BfclRow:
    turns = raw.get("question")
    if not isinstance(turns, list) or len(turns) != 1 or not isinstance(turns[0], list):
        file.fail(key, "is not one turn, a list of messages, in a list 'question'")
    if not turns[0] or not all(map(is_message, turns[0])):
        file.fail(key, "has a message that is not a text 'role' and a text 'content'")
    functions = raw.get("function")
    # Some questions of live_irrelevance come without a function; an answer needs one.
    is_enough = isinstance(functions, list) and len(functions) >= min(1, len(truth))
    if not isinstance(functions, list) or not is_enough or not all(map(is_function, functions)):
        file.fail(
            key,
            "has no list 'function' of tables with a text 'name' and 'description' and a table "
            "'parameters' that holds 'properties' and 'required'",
        )
    language = _LANGUAGES.get(category, "python")
    return BfclRow(key, category, language, tuple(turns[0]), tuple(functions), truth)


def is_function(value: Any) -> bool:
    """True for a description of a function: a table with a text `name` and `description`, and a
    table `parameters` that holds `properties` and `required`."""
    if not isinstance(value, dict) or not isinstance(value.get("parameters"), dict):
        return False
    parameters = value["parameters"]
    return (
        isinstance(value.get("name"), str)
        and isinstance(value.get("description"), str)
        and isinstance(parameters.get("properties"), dict)
        and all(isinstance(each, dict) for each in parameters["properties"].values())
        and isinstance(parameters.get("required"), list)
    )


def _truth(
    raw: Mapping[str, Any], key: str, file: RowFile
) -> tuple[Mapping[str, Mapping[str, list[Any]]], ...]:
    calls = raw.get("ground_truth")
    if not isinstance(calls, list) or not calls or not all(map(_is_call, calls)):
        file.fail(
            key,
            "has no list 'ground_truth' of tables {function: {parameter: list of accepted values}}",
        )
    return tuple(calls)


def _is_call(value: Any) -> bool:
    if not isinstance(value, dict) or len(value) != 1:
        return False
    (parameters,) = value.values()
    return isinstance(parameters, dict) and all(
        isinstance(accepted, list) for accepted in parameters.values()
    )
