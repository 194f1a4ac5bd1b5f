"""The entries of a rubric one by one, in any of the ways that data sets write their list."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

import yaml

from rvpo.errors import DataError
from rvpo.files.literal import read_value
from rvpo.rubrics.item import SIZES, TEXTS
from rvpo.rubrics.table_of_lists import LISTS, as_table, of_columns, shared_fields

_MARKER = re.compile(
    r"(?P<indent>[ \t]*)(?:\*\*)?(?:"
    r"(?P<number>[\[(]?[A-Za-z]{0,2}\d{1,3}[.):\]]{1,2}(?:\*\*)?(?=\s))|"
    r"(?P<bullet>(?:[-*\u2022\u2013+](?:\s+\[[ xX]?\])?|\[[ xX]?\])(?=\s))|"
    r"(?P<points>(?=[Pp]oints?:\s*[-+]?\d)|(?=\[\s*[-+]?\d+(?:\.\d+)?\s*(?:pts?|points?)?\s*\])))"
    r"\s*(?P<text>.*)"
)
_YAML = re.compile(
    rf"\A\s*-\s+(?:{'|'.join(TEXTS + SIZES)}):\s.*^\s+(?:{'|'.join(TEXTS + SIZES)}):\s",
    re.DOTALL | re.MULTILINE,
)
"""Start of a list of tables, of which the first has two fields or more."""
_HEADING = re.compile(r"\s*(?:#+\s.*|\*\*[^*]+\*\*:?|\([A-Za-z ]+\)|[A-Za-z][\w &/-]{0,40}:)\s*")


def entries(value: Any) -> list[Any] | None:
    """The entries of a rubric, each a table or a text; None where the value is no list of them.

    Args:
        value: a list; text that is one as JSON, as a Python literal, as YAML of tables, or by
            numbers or bullets at the beginning of its lines; or a table that holds the list under a
            name such as `items`, an entry under each of its names, a list for each column, for each
            sign or for each class, or the size of each text.

    Raises:
        ValueError: columns differ in length; a text seems to be YAML and cannot be read as such.
    """
    value = read_value(value)
    if isinstance(value, str):
        return _of_yaml(value) if _YAML.search(value) else _marked(value)
    if isinstance(value, Mapping):
        return _of_table(value)
    if isinstance(value, Sequence) and not isinstance(value, bytes):
        return _unnumbered([read_value(entry) for entry in value])
    return None


def entries_at(value: Any, where: str) -> list[Any]:
    """The entries of a rubric, none where the value is no list of them; see `entries`.

    Args:
        where: its row and column, for messages.

    Raises:
        DataError: see the ValueError of `entries`.
    """
    try:
        return entries(value) or []
    except ValueError as error:
        raise DataError(f"{where}: {error}") from error


def _of_yaml(text: str) -> list[Any]:
    """The tables of a list that is written in YAML, whose sizes would be lost in its lines."""
    try:
        found = yaml.safe_load(text)
    except yaml.YAMLError:
        found = None
    if not isinstance(found, list):
        raise ValueError(f"{text!r:.80} seems to be a list in YAML and is none; write JSON")
    return found


def _unnumbered(found: list[Any]) -> list[Any]:
    """Texts without the number or bullet that each of them begins with."""
    markers = [_MARKER.fullmatch(entry) for entry in found if isinstance(entry, str)]
    if not 1 < len(markers) == len(found) or not all(
        m and (m["number"] or m["bullet"]) for m in markers
    ):
        return found
    return [marker["text"].strip() for marker in markers if marker]


def _of_table(table: Mapping[str, Any]) -> list[Any] | None:
    if (shared := shared_fields(table)) is not None:
        return [e for name, fields in shared.items() for e in _sharing(table[name], fields)]
    if (rows := of_columns(table)) is not None:
        return rows
    inner = (read_value(table.get(name)) for name in LISTS)
    lists = [found for each in inner if not isinstance(each, str) and (found := entries(each))]
    if lists:
        return lists[0]
    if any(isinstance(table.get(name), str) for name in TEXTS):
        return [table]
    values = list(table.values())
    if not values:
        return None
    if all(isinstance(value, Mapping) for value in values):
        return values
    if all(isinstance(value, str) for value in values):
        return [{"title": name, "text": text} for name, text in table.items()]
    if all(isinstance(value, int | float) and " " in name for name, value in table.items()):
        return [{TEXTS[1]: text, "points": size} for text, size in table.items()]
    return None


def _sharing(value: Any, fields: Mapping[str, str]) -> list[dict[str, Any]]:
    """The entries of one of several lists, each with what they have in common."""
    listed = entries(value)
    return [{**fields, **as_table(entry)} for entry in ([value] if listed is None else listed)]


def _marked(text: str) -> list[str] | None:
    """The marked lines of a text, each with the unmarked ones below it. The first marker shows the
    kind of them all, so that a list below an item stays part of it."""
    found: list[str] = []
    kind, indent = "", 0
    for line in text.splitlines():
        marker = _MARKER.fullmatch(line)
        if marker is not None and not found:
            kind, indent = _kind(marker), len(marker["indent"])
        if marker is not None and _kind(marker) == kind and len(marker["indent"]) <= indent + 1:
            found.append(marker["text"].strip())
        elif found and line.strip() and not _HEADING.fullmatch(line):
            found[-1] += f" {line.strip()}"
    return found or None


def _kind(marker: re.Match[str]) -> str:
    return next(name for name in ("number", "bullet", "points") if marker[name] is not None)
