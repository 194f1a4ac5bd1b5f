"""Values in the syntax of JavaScript, as far as BFCL's checker reads it.

What cannot be read stays the text that it is, and its type then tells that it is wrong, unless the
ground truth has a text there, too. What one would not expect:

- Text may stand with or without quotes.
- Arrays and objects begin the text and are read on one line, up to the first closing bracket.
  Entries are what stands between commas, also inside of quotes.
- In objects, values lose their quotes before they are read, so "5" is a number.
- Arrays of arrays have one level, and guess the types of what is inside.
- A Bigint that ends in a newline makes the original raise, and so do integers of more than 4300
  digits; inside of an array they only make it no array.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

from rvpo.benchmarks.bfcl.java import guess_number, read_integer
from rvpo.benchmarks.bfcl.verdict import Crash

TYPES: Mapping[str, type] = {
    "String": str,
    "any": str,
    "integer": int,
    "Bigint": int,
    "float": float,
    "Boolean": bool,
    "array": list,
    "dict": dict,
}

# The newline is one that Python's $ looks past.
_INTEGER = re.compile(r"(-?\d+)\n?")
_FLOAT = re.compile(r"(-?\d+(?:\.\d+)?)\n?")
_BIGINT = re.compile(r"(-?\d+)n(\n?)")
_ARRAY = re.compile(r"\[(.*?)\]|new\s+Array\((.*?)\)")
_OUTER = re.compile(r"(?:(\[)|new\s+Array\()\s*\[")
_INNER = re.compile(r"\[(.*?)\]")
_AFTER_INNER = re.compile(r"\s*(?:(,)\s*\[|([\])]))")
_OBJECT = re.compile(r"\{(.*?)\}")
# A value goes on until a comma that a further key follows.
_PAIR = re.compile(r"([^:]+):\s*(.*?)(?:,\s*(?=[^,]+:)|$)")


def convert(text: str, declared: str, inner: str | None = None) -> Any:
    """A value of a declared type; the text itself where it is none.

    Args:
        text: a value in JavaScript's syntax.
        declared: one of `TYPES`.
        inner: the type of the entries of an array; None where it is not known.

    Raises:
        Crash: the original raises.
    """
    if declared == "String":
        return text[1:-1] if _is_quoted(text) else text
    if declared == "integer":
        match = _INTEGER.fullmatch(text)
        return read_integer(match[1]) if match else text
    if declared == "float":
        match = _FLOAT.fullmatch(text)
        return float(match[1]) if match else text
    if declared == "Bigint":
        match = _BIGINT.fullmatch(text)
        if match and match[2]:
            raise Crash("a Bigint that ends in a newline cannot be read")
        return read_integer(match[1]) if match else text
    if declared == "Boolean":
        return {"true": True, "false": False}.get(text, text)
    if declared == "array":
        return _array(text.strip(), inner)
    return _object(text.strip()) if declared == "dict" else text


def _is_quoted(text: str) -> bool:
    return any(text.startswith(quote) and text.endswith(quote) for quote in "\"'")


def _array(text: str, inner: str | None) -> Any:
    if (end := _end_of_arrays(text)) is not None:
        return _arrays(text[:end])
    match = _ARRAY.match(text)
    if match is None:
        return text
    content = (match[1] if match[1] is not None else match[2]).strip()
    entries = [entry.strip() for entry in content.split(",")] if content else []
    if not inner:
        return [_guess(entry) for entry in entries]
    try:
        return [convert(entry, inner) for entry in entries]
    except Crash:
        return text


def _arrays(text: str) -> list[list[Any]]:
    rows = [row.strip() for row in _INNER.findall(text)]
    # The first begins at the outer bracket.
    rows[:1] = [row.removeprefix("[") for row in rows[:1]]
    return [[_guess(entry) for entry in row.split(",")] for row in rows]


def _end_of_arrays(text: str) -> int | None:
    """End of an array of arrays that begins the text; None where there is none.

    The end that a regular expression with lazy inner arrays finds first. Such an expression takes
    time exponential in the inner arrays of a text that is cut off; here a position is tried once.
    """
    opening = _OUTER.match(text)
    if opening is None:
        return None
    closing = "]" if opening[1] else ")"
    tried: set[int] = set()
    ways = [_ends_of_inner(text, opening.end())]
    while ways:
        position = next(ways[-1], None)
        if position is None or position in tried:
            ways.pop()  # whoever tried it went on to the end of the line
            continue
        tried.add(position)
        following = _AFTER_INNER.match(text, position)
        if following and following[1]:
            ways.append(_ends_of_inner(text, following.end()))
        elif following and following[2] == closing:
            return following.end()
    return None


def _ends_of_inner(text: str, start: int) -> Iterator[int]:
    """Positions at which an inner array may end, nearest first: behind every bracket on its first
    line."""
    line_end = text.find("\n", start)
    bracket = start - 1
    while (bracket := text.find("]", bracket + 1, line_end if line_end >= 0 else None)) >= 0:
        yield bracket + 1


def _object(text: str) -> Any:
    match = None if text == "{}" else _OBJECT.match(text)
    if match is None:
        return {} if text == "{}" else text
    entries: dict[str, Any] = {}
    # Without a colon the expression would look for one from every place.
    for key, value in _PAIR.findall(match[1]) if ":" in match[1] else ():
        stripped = value.strip()
        is_array = stripped.startswith("[") and stripped.endswith("]")
        entries[key.strip().strip("'\"")] = (
            _array(stripped, None) if is_array else _guess(stripped.strip("'\""))
        )
    return entries


def _guess(text: str) -> Any:
    """A value whose type is not declared."""
    stripped = text.strip()
    if stripped in ("true", "false"):
        return stripped == "true"
    return stripped[1:-1] if _is_quoted(stripped) else guess_number(stripped)
