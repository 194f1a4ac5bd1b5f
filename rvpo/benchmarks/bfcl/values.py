"""Compare a value with the accepted ones, by the rules of BFCL's checker.

What one would not expect of them:

- A value of the wrong type is right if it has the type of the first accepted value and equals one
  of them: the original takes such values for names of variables.
- Text is compared without ` ,./-_*^`, in lower case, and ' is ". Inside lists and tables this holds
  for their own entries, but not for what those hold.
- Numbers are equal as in Python: an accepted 1 takes 1.0, and inside lists and tables also true.
- The entries of a list are compared with the type of the first entry accepted, too. One accepted
  value that is no list ("", which marks what may be left out) lets entries of every type pass.
- An accepted "" is an empty list wherever lists are compared, so an empty list is right for a list
  that may be left out.
- An accepted text where lists are compared is the list of its characters.
- Of several accepted tables each is tried; of accepted lists of tables, too.
"""

from __future__ import annotations

import reprlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from rvpo.benchmarks.bfcl.verdict import VALID, CallCheck, Crash, invalid

_IGNORED = str.maketrans({**dict.fromkeys(" ,./-_*^", ""), "'": '"'})


@dataclass(frozen=True, slots=True)
class Declared:
    """The type that a function description gives a parameter."""

    kind: type[Any]
    inner: type[Any] | None
    """Type of the entries of a list; None for everything else."""


def check_value(
    parameter: str, value: Any, declared: Declared, accepted: Sequence[Any]
) -> CallCheck:
    """Compare a value with the accepted ones.

    Raises:
        Crash: the original raises.
    """
    kind, inner = declared.kind, declared.inner
    example = _type_of_first(accepted)
    is_variable = False
    if type(value) is kind:
        is_variable = example is not None and example is not kind
        if inner is not None and not any(_has_entries(value, each, inner) for each in accepted):
            return _wrong_type(parameter, value, f"a list of {inner.__name__}")
    elif type(value) is example:
        is_variable = True
    else:
        return _wrong_type(parameter, value, kind.__name__)
    if is_variable or kind not in (dict, list, str):
        is_accepted = value in accepted
    elif kind is dict:
        is_accepted = _accepts_table(value, accepted)
    elif kind is str:
        is_accepted = plain(value) in _plain_all(accepted)
    elif inner is dict:
        is_accepted = _accepts_tables(value, accepted)
    else:
        is_accepted = _plain_all(value) in [_plain_all(_entries(each)) for each in accepted]
    if is_accepted:
        return VALID
    return invalid(
        "wrong_value",
        f"{parameter} is {reprlib.repr(value)}, accepted are {reprlib.repr(accepted)}",
    )


def plain(value: Any) -> Any:
    """A text as it is compared; anything else as it is."""
    return value.translate(_IGNORED).lower() if type(value) is str else value


def _plain_all(values: Iterable[Any]) -> list[Any]:
    return [plain(value) for value in values]


def _type_of_first(accepted: Iterable[Any]) -> type | None:
    """The type of the first accepted value that does not just say "may be left out"."""
    return next((type(value) for value in accepted if value != ""), None)


def _has_entries(value: Sequence[Any], accepted: Any, inner: type) -> bool:
    """True where every entry has the declared type, or that of the first entry accepted."""
    if type(accepted) is not list:
        return True
    example = _type_of_first(accepted)
    return all(type(entry) is inner or type(entry) is example for entry in value)


def _entries(accepted: Any) -> Sequence[Any]:
    """The entries of an accepted list; of a string its characters."""
    if type(accepted) is not list and type(accepted) is not str:
        raise Crash(f"{reprlib.repr(accepted)} is accepted where a list is compared")
    return accepted


def _accepts_table(value: Any, accepted: Iterable[Any]) -> bool:
    """True where a mapping is one of the accepted, each {key: accepted values}."""
    for table in accepted:
        if table == "":
            continue
        if type(value) is not dict or type(table) is not dict:
            raise Crash(f"{reprlib.repr(value)} is compared as a table with {reprlib.repr(table)}")
        if all(
            key in table and plain(entry) in _plain_all(_entries(table[key]))
            for key, entry in value.items()
        ) and all(key in value or "" in _entries(table[key]) for key in table):
            return True
    return False


def _accepts_tables(value: Sequence[Any], accepted: Iterable[Any]) -> bool:
    """True where a list of mappings is one of the accepted, one by one."""
    for tables in accepted:
        entries = _entries(tables)
        if len(entries) == len(value) and all(
            _accepts_table(entry, [table]) for entry, table in zip(value, entries, strict=True)
        ):
            return True
    return False


def _wrong_type(parameter: str, value: Any, wanted: str) -> CallCheck:
    return invalid(
        "wrong_type",
        f"{parameter} is {reprlib.repr(value)} of type {type(value).__name__}, not {wanted}",
    )
