"""Answers to a row of BFCL: right ones made from its ground truth, and what can go wrong with them.

Every kind of corruption is applied once a row, to a call and a parameter drawn by a generator that
is seeded with the row. Values of Java and JavaScript are written in the syntax of the language, and
are corrupted both before and after.
"""

from __future__ import annotations

import copy
import json
import random
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from rvpo.benchmarks.bfcl.rows import BfclRow

Calls = list[dict[str, dict[str, Any]]]
Pick = Callable[[Sequence[Any]], Any]


def first(values: Sequence[Any]) -> Any:
    return values[0]


def last(values: Sequence[Any]) -> Any:
    return values[-1]


def answers(row: BfclRow, rounds: int = 1) -> Iterator[tuple[str, Any]]:
    """Answers by what was done to them; the same ones every time."""
    generator = random.Random(row.id)
    right = right_calls(row, first)
    yield "first accepted values", right
    yield "last accepted values", right_calls(row, last)
    yield "any accepted values", right_calls(row, generator.choice)
    yield "first, optional ones dropped", right_calls(row, first, drops_optional=True)
    yield "last, optional ones dropped", right_calls(row, last, drops_optional=True)
    for _ in range(rounds):
        yield from _broken_lists(right, generator)
        yield from _broken_parameters(right, generator)
        yield from _broken_values(row, generator)


def right_calls(row: BfclRow, pick: Pick, drops_optional: bool = False) -> Calls:
    """Calls that the ground truth accepts, but for what is odd about the row."""
    calls = []
    for truth in row.ground_truth:
        ((name, accepted),) = truth.items()
        schemas = _schemas(row, name)
        calls.append(
            {
                name: {
                    parameter: _written(_value(values, pick), schemas.get(parameter, {}), row)
                    for parameter, values in accepted.items()
                    if any(value != "" for value in values)
                    and not (drops_optional and "" in values)
                }
            }
        )
    return calls


def _schemas(row: BfclRow, name: str) -> Mapping[str, Any]:
    functions = {function["name"]: function for function in row.functions}
    function = functions.get(name, row.functions[0])
    schemas: Mapping[str, Any] = function["parameters"]["properties"]
    return schemas


def _value(accepted: Sequence[Any], pick: Pick) -> Any:
    return _plain(pick([value for value in accepted if value != ""]), pick)


def _plain(value: Any, pick: Pick) -> Any:
    """A table of accepted values as a table of values, also in lists."""
    if isinstance(value, dict):
        return {
            key: _value(values, pick) if isinstance(values, list) else values
            for key, values in value.items()
            if not isinstance(values, list) or any(each != "" for each in values)
        }
    return [_plain(each, pick) for each in value] if isinstance(value, list) else value


def _written(value: Any, schema: Mapping[str, Any], row: BfclRow) -> Any:
    """A value in the syntax of the row's language."""
    if row.language == "python":
        return copy.deepcopy(value)
    inner = schema.get("items", {}).get("type")
    if row.language == "java":
        return _in_java(value, schema.get("type"), inner)
    return _in_javascript(value, schema.get("type"))


def _in_java(value: Any, declared: str | None, inner: str | None = None) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, list):
        entries = ", ".join(
            json.dumps(entry)
            if isinstance(entry, str) and declared == "ArrayList"
            else _in_java(entry, inner)
            for entry in value
        )
        if declared == "Array":
            return f"new Object[]{{{entries}}}"
        return f"new ArrayList<>(Arrays.asList({entries}))" if value else "new ArrayList<>()"
    if isinstance(value, dict):
        puts = (f'put("{key}", {_in_java_map(entry)});' for key, entry in value.items())
        return f"new HashMap<String, Object>() {{{{ {' '.join(puts)} }}}}"
    suffix = {"long": "L", "float": "f"}.get(declared or "", "")
    return f"{value}{suffix}"


def _in_java_map(value: Any) -> str:
    return json.dumps(value) if isinstance(value, str) else _in_java(value, None)


def _in_javascript(value: Any, declared: str | None) -> str:
    if declared == "Bigint" and type(value) is int:
        return f"{value}n"
    if isinstance(value, str):
        return json.dumps(value) if declared == "String" else value
    if isinstance(value, dict):
        entries = (f"{key}: {json.dumps(entry)}" for key, entry in value.items())
        return f"{{{', '.join(entries)}}}"
    return json.dumps(value)


def _broken_lists(right: Calls, generator: random.Random) -> Iterator[tuple[str, Any]]:
    """Of calls, not what is in them."""
    one = generator.randrange(len(right))
    yield "no call", []
    yield "dropped call", right[:one] + right[one + 1 :]
    yield "duplicated call", [*right, right[one]]
    yield (
        "call instead of another",
        [*right[:one], generator.choice(right), *right[one + 1 :]],
    )
    yield "reversed calls", right[::-1]
    yield "shuffled calls", generator.sample(right, len(right))
    names = [next(iter(call)) for call in right]
    parameters = [next(iter(call.values())) for call in right]
    yield (
        "swapped arguments",
        [{name: each} for name, each in zip(names, parameters[1:] + parameters[:1], strict=True)],
    )
    for what, name in {
        "wrong name": names[one] + "_",
        "upper name": names[one].upper(),
        "name without dots": names[one].replace(".", "_"),
        "last part of the name": names[one].rsplit(".", 1)[-1],
    }.items():
        yield what, [*right[:one], {name: parameters[one]}, *right[one + 1 :]]
    yield from {
        "no list": right[0],
        "nothing": None,
        "text": names[0],
        "an empty call": [{}],
        "two functions in a call": [{**right[0], "other": {}}],
        "no parameters": [{names[0]: None}],
        "listed parameters": [{names[0]: list(parameters[0])}],
    }.items()


def _broken_parameters(right: Calls, generator: random.Random) -> Iterator[tuple[str, Any]]:
    for what, change in {
        "unexpected parameter": lambda given: given | {"unexpected": 1},
        "missing parameter": lambda given: _without(given, generator),
        "missing two": lambda given: _without(_without(given, generator), generator),
        "reversed parameters": lambda given: dict(reversed(given.items())),
        "swapped values": lambda given: dict(
            zip(given, generator.sample(list(given.values()), len(given)), strict=True)
        ),
        "renamed parameter": lambda given: {key.upper(): value for key, value in given.items()},
    }.items():
        yield what, _with_call(right, generator, change)


def _without(given: dict[str, Any], generator: random.Random) -> dict[str, Any]:
    gone = generator.choice([*given, ""])
    return {key: value for key, value in given.items() if key != gone}


def _with_call(
    right: Calls, generator: random.Random, change: Callable[[dict[str, Any]], dict[str, Any]]
) -> Calls:
    """The calls with the parameters of one of them changed."""
    calls = copy.deepcopy(right)
    call = generator.choice(calls)
    for name, given in call.items():
        call[name] = change(given)
    return calls


def _broken_values(row: BfclRow, generator: random.Random) -> Iterator[tuple[str, Any]]:
    calls = right_calls(row, first)
    for call in calls:
        for name, given in call.items():
            given |= {key: "" for key in _schemas(row, name) if key not in given}
    yield "all described parameters", calls
    for what, change in CHANGES.items():
        for is_written in (False, True) if row.language != "python" else (False,):
            yield from _broken_value(row, generator, what, change, is_written)


def _broken_value(
    row: BfclRow,
    generator: random.Random,
    what: str,
    change: Callable[[Any, random.Random], Any],
    is_written: bool,
) -> Iterator[tuple[str, Any]]:
    calls = right_calls(row, generator.choice)
    call, truth = generator.choice(list(zip(calls, row.ground_truth, strict=True)))
    ((name, accepted),) = truth.items()
    candidates = [key for key, values in accepted.items() if any(v != "" for v in values)]
    if not candidates:
        return
    parameter = generator.choice(candidates)
    schema = _schemas(row, name).get(parameter, {})
    value = _value(accepted[parameter], generator.choice)
    value = _written(value, schema, row) if is_written else value
    changed = change(copy.deepcopy(value), generator)
    if changed is NOT_APPLICABLE:
        return
    # Not written at all, as a model that answers in JSON might.
    is_raw = is_written or generator.random() < 0.2
    call[name][parameter] = changed if is_raw else _written(changed, schema, row)
    yield f"{what}, as written" if is_written else what, calls


NOT_APPLICABLE = object()


def _of(kind: type, change: Callable[[Any, random.Random], Any]) -> Any:
    """A change of values of one type only."""
    return lambda value, generator: (
        change(value, generator) if type(value) is kind else NOT_APPLICABLE
    )


def _entry(change: Callable[[Any], Any]) -> Callable[[Any, random.Random], Any]:
    """A change of one entry of a list or table, or of one inside of that."""

    def changed(value: Any, generator: random.Random) -> Any:
        if not isinstance(value, list | dict) or not value:
            return NOT_APPLICABLE
        key = generator.choice(range(len(value)) if isinstance(value, list) else list(value))
        inner = value[key]
        is_deep = isinstance(inner, list | dict) and inner and generator.random() < 0.7
        value[key] = changed(inner, generator) if is_deep else change(inner)
        return value

    return changed


def _always(result: Callable[[Any], Any]) -> Callable[[Any, random.Random], Any]:
    return lambda value, generator: result(value)


def _sprinkled(text: str, generator: random.Random) -> str:
    """Text with characters that comparing ignores, and some that it does not."""
    for character in generator.choices(" ,./-_*^:;'\"", k=3):
        place = generator.randint(0, len(text))
        text = text[:place] + character + text[place:]
    return text


def _number(value: Any) -> Any:
    """A boolean as integer, integer as float, float as integer; anything else as its length."""
    kinds: Mapping[type, Callable[[Any], Any]] = {bool: int, int: float, float: round}
    return kinds.get(type(value), lambda other: len(str(other)))(value)


CHANGES: Mapping[str, Callable[[Any, random.Random], Any]] = {
    "other text": _of(str, lambda text, _: text + "x"),
    "upper case": _of(str, lambda text, _: text.upper()),
    "punctuation": _of(str, _sprinkled),
    "no punctuation": _of(str, lambda text, _: "".join(filter(str.isalnum, text))),
    "quoted": _of(str, lambda text, _: f"'{text}'"),
    "other quotes": _of(str, lambda text, _: text.replace('"', "'")),
    "no quotes": _of(str, lambda text, _: text.strip("'\"")),
    "cut off": _of(str, lambda text, generator: text[: generator.randint(0, len(text))]),
    "newline": _of(str, lambda text, _: text + "\n"),
    "suffix": _of(str, lambda text, generator: text + generator.choice("fLnd")),
    "without spaces": _of(str, lambda text, _: text.replace(" ", "")),
    "more spaces": _of(str, lambda text, _: text.replace(",", " , ").replace("{", "{ ")),
    "text as number": _of(str, lambda text, _: len(text)),
    "other integer": _of(int, lambda value, _: value + 1),
    "integer as float": _of(int, lambda value, _: float(value)),
    "integer as boolean": _of(int, lambda value, _: bool(value)),
    "other float": _of(float, lambda value, _: value + 0.5),
    "float as integer": _of(float, lambda value, _: round(value)),
    "other boolean": _of(bool, lambda value, _: not value),
    "boolean as integer": _of(bool, lambda value, _: int(value)),
    "boolean as text": _of(bool, lambda value, _: str(value).lower()),
    "shorter list": _of(list, lambda value, _: value[:-1]),
    "longer list": _of(list, lambda value, _: value + value[:1]),
    "reversed list": _of(list, lambda value, _: value[::-1]),
    "list of one list": _of(list, lambda value, _: [value]),
    "list as table": _of(list, lambda value, _: dict(enumerate(value))),
    "first of the list": _of(list, lambda value, _: value[0] if value else None),
    "table with more": _of(dict, lambda value, _: value | {"more": 1}),
    "table with less": _of(dict, lambda value, _: dict(list(value.items())[1:])),
    "reversed table": _of(dict, lambda value, _: dict(reversed(value.items()))),
    "keys of the table": _of(dict, lambda value, _: list(value)),
    "entry as text": _entry(str),
    "entry as number": _entry(_number),
    "entry in upper case": _entry(lambda value: value.upper() if type(value) is str else value),
    "entry with a comma": _entry(lambda value: value + "," if type(value) is str else value),
    "entry as nothing": _entry(lambda value: None),
    "entry in a list": _entry(lambda value: [value]),
    "other entry": _entry(lambda value: "other"),
    "as text": _always(str),
    "as JSON": _always(json.dumps),
    "in a list": _always(lambda value: [value]),
    "twice in a list": _always(lambda value: [value, value]),
    "in a table": _always(lambda value: {"value": value}),
    "nothing": _always(lambda value: None),
    "empty text": _always(lambda value: ""),
    "empty list": _always(lambda value: []),
    "list of an empty text": _always(lambda value: [""]),
    "empty table": _always(lambda value: {}),
    "list of an empty table": _always(lambda value: [{}]),
    "zero": _always(lambda value: 0),
    "true": _always(lambda value: True),
    "not a number": _always(lambda value: float("nan")),
    "beyond floats": _always(lambda value: 10**400),
}
