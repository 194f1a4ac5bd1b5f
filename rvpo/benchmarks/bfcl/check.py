"""Check the calls of an answer: the AST checks of BFCL, in code of our own.

They agree with `bfcl_eval.eval_checker.ast_eval.ast_checker` on what is valid, of both versions,
accidents included; `tests/benchmarks/bfcl/test_oracle.py` compares them row by row. The rules for
single values are in `values.py`, those for Java and JavaScript in `java.py` and `javascript.py`.

What one would not expect:

- Every call is compared with the wanted calls in the order of the ground truth, and the first that
  fits is taken; a call that fits two wanted ones may be used up by the wrong one.
- A parameter that the description has but the ground truth does not is unexpected, even a required
  one, which nobody can get right then.
- In the category simple, the name is that of the description; the ground truth may have another.

Where the original raises, which would end its run, the answer is wrong for the reason "error":

- the ground truth calls a function that is not described (multiple, parallel),
- a given parameter has no declared type or one that is not of the language, or it is a list whose
  description does not tell the type of its entries,
- an integer beyond the range of a float is given for a float,
- something that is no table is compared with an accepted table,
- Java's Set, Hashtable, Queue and Stack; integers of more than 4300 digits in Java and JavaScript;
  a Bigint of JavaScript that ends in a newline.
"""

from __future__ import annotations

import reprlib
from collections.abc import Mapping, Sequence
from typing import Any

from rvpo.benchmarks.bfcl import java, javascript
from rvpo.benchmarks.bfcl.rows import Language
from rvpo.benchmarks.bfcl.values import Declared, check_value
from rvpo.benchmarks.bfcl.verdict import VALID, CallCheck, Crash, invalid

Call = Mapping[str, Mapping[str, Any]]
"""One function and its parameters."""

_PYTHON: Mapping[str, type] = {
    "string": str,
    "any": str,
    "integer": int,
    "float": float,
    "boolean": bool,
    "array": list,
    "tuple": list,
    "dict": dict,
}
_TYPES: Mapping[Language, Mapping[str, type]] = {
    "python": _PYTHON,
    "java": java.TYPES,
    "javascript": javascript.TYPES,
}
_LISTS = {
    "python": ("array", "tuple"),
    "java": ("Array", "ArrayList"),
    "javascript": ("array",),
}


def check(
    functions: Sequence[Mapping[str, Any]],
    calls: Any,
    ground_truth: Sequence[Call],
    language: Language,
    category: str,
) -> CallCheck:
    """Compare the calls of an answer with the wanted ones.

    Args:
        functions: the descriptions, with the types of BFCL.
        calls: those decoded from the answer, each {function: {parameter: value}}. In Java and
            JavaScript every value is a text in the syntax of the language.
        ground_truth: the wanted calls, at least one.
        language: the functions'.
        category: tells by its name how many calls are wanted and in what order.
    """
    if not are_calls(calls):
        return invalid("wrong_format", f"{reprlib.repr(calls)} is no list of calls")
    try:
        if "parallel" in category:
            return _check_several(functions, calls, ground_truth, language)
        is_one_of_many = "multiple" in category
        wanted = len(ground_truth) if is_one_of_many else 1
        if len(calls) != wanted:
            return _wrong_count(calls, wanted)
        truth = ground_truth[0]
        function = _described(functions, truth) if is_one_of_many else functions[0]
        return _check_call(function, calls[0], truth, language)
    except Crash as crash:
        return invalid("error", str(crash))


def check_relevance(calls: Any, category: str) -> CallCheck:
    """Check that an answer calls functions where it should, and does not where it should not.

    Args:
        calls: value decoded from the answer; None if nothing could be. Anything but a list of
            calls counts as no call, so an answer in a broken format passes as irrelevance.
        category: irrelevance or live_irrelevance, where no call is wanted, or live_relevance.
    """
    has_called = are_calls(calls) and bool(calls)
    if "irrelevance" in category:
        return invalid("called", reprlib.repr(calls)) if has_called else VALID
    return VALID if has_called else invalid("not_called", reprlib.repr(calls))


def are_calls(value: Any) -> bool:
    """True where a value is a list, also an empty one, of {function: {parameter: value}}."""
    return type(value) is list and all(
        type(call) is dict and len(call) == 1 and type(next(iter(call.values()))) is dict
        for call in value
    )


def _check_several(
    functions: Sequence[Mapping[str, Any]],
    calls: Sequence[Call],
    ground_truth: Sequence[Call],
    language: Language,
) -> CallCheck:
    if len(calls) != len(ground_truth):
        return _wrong_count(calls, len(ground_truth))
    left = list(range(len(calls)))
    for truth in ground_truth:
        function = _described(functions, truth)
        verdicts = []
        for index in left:
            verdict = _check_call(function, calls[index], truth, language)
            if verdict.valid:
                left.remove(index)
                break
            verdicts.append(f"call {index}: {verdict.reason}, {verdict.detail}")
        else:
            return invalid("no_match", f"for {next(iter(truth))}; " + "; ".join(verdicts))
    return VALID


def _check_call(
    function: Mapping[str, Any], call: Call, truth: Call, language: Language
) -> CallCheck:
    """Compare one call with the wanted one.

    Raises:
        Crash: the original raises.
    """
    name = function["name"]
    accepted = next(iter(truth.values()))
    properties = function["parameters"]["properties"]
    if name not in call:
        return invalid("wrong_function", f"{next(iter(call))} is called, not {name}")
    given = call[name]
    for parameter in function["parameters"]["required"]:
        if parameter not in given:
            return invalid("missing_parameter", f"{parameter} is required")
    for parameter, value in given.items():
        if parameter not in properties or parameter not in accepted:
            return invalid("unexpected_parameter", f"{parameter} is not wanted")
        verdict = _check_parameter(
            parameter, value, properties[parameter], accepted[parameter], language
        )
        if not verdict.valid:
            return verdict
    for parameter, values in accepted.items():
        if parameter not in given and "" not in values:
            return invalid("omitted_parameter", f"{parameter} may not be left out")
    return VALID


def _check_parameter(
    parameter: str,
    value: Any,
    schema: Mapping[str, Any],
    accepted: Sequence[Any],
    language: Language,
) -> CallCheck:
    declared, kind = _type(schema, language, parameter)
    is_text = language != "python"
    if is_text and type(value) is not str:
        return invalid(
            "wrong_type",
            f"{parameter} is {reprlib.repr(value)}, not a text in the syntax of {language}",
        )
    inner, inner_kind = None, None
    if declared in _LISTS[language]:
        inner, inner_kind = _type(schema.get("items", {}), language, f"an entry of {parameter}")
    if language == "java":
        value = java.convert(value, declared, inner)
    elif language == "javascript":
        value = javascript.convert(value, declared, inner)
    elif declared == "tuple" and type(value) is tuple:
        value = list(value)
    elif declared == "float" and type(value) is int:
        value = _as_float(value, parameter)
    return check_value(parameter, value, Declared(kind, inner_kind), accepted)


def _type(schema: Mapping[str, Any], language: Language, what: str) -> tuple[str, type]:
    """The type as declared and as Python's."""
    declared = schema.get("type")
    if not isinstance(declared, str) or declared not in _TYPES[language]:
        raise Crash(f"{what} is declared as {declared!r}, which is no type of {language}")
    return declared, _TYPES[language][declared]


def _as_float(value: int, parameter: str) -> float:
    try:
        return float(value)
    except OverflowError:
        raise Crash(f"{parameter} is too large for a float") from None


def _described(functions: Sequence[Mapping[str, Any]], truth: Call) -> Mapping[str, Any]:
    name = next(iter(truth))
    for function in functions:
        if function["name"] == name:
            return function
    raise Crash(f"{name} is wanted but not described")


def _wrong_count(calls: Sequence[Call], wanted: int) -> CallCheck:
    return invalid("wrong_count", f"{len(calls)} calls, wanted {wanted}")
