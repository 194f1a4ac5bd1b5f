"""Lists and tables in text, and what they hold at some depth."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rvpo.files.literal import inside, read_list, read_value

ROW = {"a": {"b": [1, {"c": "deep"}]}, "a.x": "named so", "text": "plain"}


@pytest.mark.parametrize("write", [json.dumps, repr, lambda value: value])
@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("a", {"b": [1, {"c": "deep"}]}),
        ("a.b.0", 1),
        ("a.b.1.c", "deep"),
        ("a.x", "named so"),
        ("text", "plain"),
        ("a.b.2", None),
        ("a.b.-1", None),
        ("a.b.c", None),
        ("text.b", None),
        ("none", None),
        ("none.at.all", None),
        ("", None),
    ],
)
def test_path_leads_inside_tables_lists_and_texts_that_are_such(
    path: str, value: Any, write: Any
) -> None:
    row = {name: write(held) if name == "a" else held for name, held in ROW.items()}
    found = inside(row, path)
    assert (read_value(found) if path == "a" else found) == value


@pytest.mark.parametrize("text", ["[", "{'a'", "plain", "", " 7", "[1, 2", "(1, 2)", "true"])
def test_text_that_is_no_list_or_table_stays_text(text: str) -> None:
    assert read_value(text) == text


@settings(deadline=None)
@given(st.lists(st.integers() | st.text(max_size=5), max_size=4))
def test_list_is_the_same_in_either_notation(value: list[Any]) -> None:
    assert (
        read_list(json.dumps(value)) == read_list(repr(value)) == read_value(repr(value)) == value
    )
