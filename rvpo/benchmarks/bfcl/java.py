"""Values in the syntax of Java, as far as BFCL's checker reads it.

What cannot be read stays the text that it is, and its type then tells that it is wrong, unless the
ground truth has a text there, too. What one would not expect:

- `float` needs the suffix f, `long` the suffix L, and `double` and `int` take none.
- Text keeps its quotes, and so do texts in an array. In an ArrayList the first and last character
  of every text are cut off, whatever they are.
- Entries are what stands between commas, also inside of quotes.
- A collection is looked for anywhere in the text, and an array only on one line. A HashMap holds
  the `put("key", value)` up to the first closing brace.
- Set, Hashtable, Queue and Stack make the original raise, and so do integers of more than 4300
  digits, which Python does not read.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any

from rvpo.benchmarks.bfcl.verdict import Crash

TYPES: Mapping[str, type] = {
    **dict.fromkeys(("byte", "short", "integer", "long"), int),
    **dict.fromkeys(("float", "double"), float),
    "boolean": bool,
    **dict.fromkeys(("char", "String", "any"), str),
    **dict.fromkeys(("Array", "ArrayList", "Queue", "Stack"), list),
    **dict.fromkeys(("HashMap", "Hashtable"), dict),
    "Set": set,
}

_DECIMAL = r"-?\d+(?:\.\d+)?(?:[eE][+-]?\d+)?"
# The newline is one that Python's $ looks past.
_INTEGER = re.compile(r"(-?\d+)\n?")
_LONG = re.compile(r"(-?\d+)[lL]\n?")
_DOUBLE = re.compile(rf"({_DECIMAL})\n?")
_FLOAT = re.compile(rf"({_DECIMAL})[fF]\n?")
_ARRAY = re.compile(r"new\s+\w+\[\]\s*\{(.*?)\}")
_NEW_LIST = r"new\s+ArrayList<\w*>\("
_LIST_OF = re.compile(_NEW_LIST + r"Arrays\.asList\((.+?)\)\)")
_LIST_WITH = re.compile(_NEW_LIST + r"\)\s*\{\{\s*")
_LIST = re.compile(_NEW_LIST + r"\)")
_ADD = re.compile(r"add\((.+?)\)")
_MAP_WITH = re.compile(r"new\s+HashMap<.*?>\s*\(\)\s*\{\s*\{?\s*", re.DOTALL)
_MAP = re.compile(r"new\s+HashMap<.*?>\s*\(\)")
_PUT = re.compile(r'put\("(.*?)",\s*(.*?)\)')


def convert(text: str, declared: str, inner: str | None = None) -> Any:
    """A value of a declared type; the text itself where it is none.

    Args:
        text: a value in Java's syntax.
        declared: one of `TYPES`.
        inner: the type of the entries of an Array or ArrayList; None where it is not known.

    Raises:
        Crash: the original raises.
    """
    if declared in _SCALARS:
        pattern, read = _SCALARS[declared]
        match = pattern.fullmatch(text)
        return read(match[1]) if match else text
    if declared == "boolean":
        return {"true": True, "false": False}.get(text, text)
    if declared == "Array":
        return _array(text, inner)
    if declared == "ArrayList":
        return _array_list(text, inner)
    if declared == "HashMap":
        return _hash_map(text)
    if TYPES.get(declared) is str:
        return text
    raise Crash(f"values of Java's {declared} cannot be read")


def read_integer(digits: str) -> int:
    """Raises Crash where there are more digits than Python reads."""
    try:
        return int(digits)
    except ValueError:
        raise Crash(f"an integer of {len(digits)} digits cannot be read") from None


_SCALARS: Mapping[str, tuple[re.Pattern[str], Callable[[str], Any]]] = {
    **dict.fromkeys(("byte", "short", "integer"), (_INTEGER, read_integer)),
    "long": (_LONG, read_integer),
    "float": (_FLOAT, float),
    "double": (_DOUBLE, float),
}


def _array(text: str, inner: str | None) -> Any:
    match = _ARRAY.search(text)
    if match is None:
        return text
    entries = (entry.strip() for entry in match[1].split(","))
    return [convert(entry, inner) if inner else _guess(entry) for entry in entries if entry]


def _array_list(text: str, inner: str | None) -> Any:
    if match := _LIST_OF.search(text):
        return [_entry(entry.strip(), inner) for entry in match[1].split(",")]
    if match := _LIST_WITH.search(text):
        # At least one character is content, even a brace.
        end = text.find("}}", match.end() + 1)
        content = text[match.end() : end] if end > 0 else ""
        return [_entry(entry.strip(), inner) for entry in _ADD.findall(content)]
    return [] if _LIST.search(text) else text


def _entry(text: str, inner: str | None) -> Any:
    """An entry of an ArrayList."""
    if inner in ("char", "String"):
        return text[1:-1]
    return convert(text, inner) if inner else _guess(text)


def _hash_map(text: str) -> Any:
    match = _MAP_WITH.search(text)
    # A pattern with the closing brace would try all ways to share out the blank space before it.
    end = text.find("}", match.end()) if match else -1
    if match and end >= 0:
        content = text[match.end() : end]
        return {key: _guess(value.strip()) for key, value in _PUT.findall(content)}
    return {} if _MAP.search(text) else text


def _guess(text: str) -> Any:
    """A value whose type is not declared."""
    if text in ("true", "false"):
        return text == "true"
    if text.startswith('"') and text.endswith('"'):
        return text[1:-1]
    if match := _LONG.fullmatch(text):
        return read_integer(match[1])
    if match := _FLOAT.fullmatch(text):
        return float(match[1])
    return guess_number(text)


def guess_number(text: str) -> Any:
    """The number that Python reads, which includes 1_000, nan and inf; else the text."""
    for read in (int, float):
        try:
            return read(text)
        except ValueError:
            continue
    return text
