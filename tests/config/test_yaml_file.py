"""YAML keeps one meaning: that of YAML 1.1 with the exponents and the unique keys of 1.2."""

from __future__ import annotations

from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from rvpo.config.document import dump, dump_value
from rvpo.config.yaml_file import load, reason


@pytest.mark.parametrize(
    ("text", "value"),
    [
        *(("yes", True), ("No", False), ("on", True), ("OFF", False)),
        *(("y", "y"), ("n", "n")),  # words of a letter name things, such as columns
        *(("010", 8), ("08", "08"), ("0o17", "0o17"), ("0x1f", 31), ("0b11", 3)),
        *(("12:30", 750), ("1_000", 1000)),
        *(("1e-6", 1e-6), ("-2E+3", -2000.0), (".5", 0.5), ("1.", 1.0)),
        *(("~", None), ("null", None), ("", None)),
    ],
)
def test_a_plain_scalar_means_what_it_always_meant(text: str, value: Any) -> None:
    """The value and its type: `010` in a file of today stays 8, and `no` stays false."""
    found = load(text)
    assert (found, type(found)) == (value, type(value))


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("a: 1\nb: 2\na: 3", "line 3, column 1: 'a' stands on line 1 already; keep one"),
        ("{a: 1, a: 2}", "line 1, column 8: 'a' stands on line 1 already; keep one"),
        # In settings every name is a text, so both would be the same.
        ("1: x\n'1': z", "line 2, column 1: '1' stands on line 1 already; keep one"),
        ("- 2026-13-45", "'2026-13-45' is no timestamp that can be read; put text in quotes"),
        ("a: !!int b", "line 1, column 4: 'b' is no int that can be read; put text in quotes"),
        ("a: !!python/name:os.system ''", "line 1, column 4: could not determine a constructor"),
        ("a: [1,", "line 1, column 7: "),
        ("? [1, 2]\n: x", "line 1, column 3: found unhashable key"),
        ("&a [*a]", "an alias stands inside what it names"),
    ],
)
def test_what_cannot_be_read_has_its_place_and_reason(text: str, said: str) -> None:
    with pytest.raises(yaml.YAMLError) as caught:
        load(text)
    assert said in reason(caught.value)


LOOKS_LIKE_MORE = st.one_of(
    st.text(alphabet="0123456789eE+-._:xo", max_size=8),
    st.sampled_from(["yes", "No", "on", "OFF", "y", "~", "null", "=", "<<", "true", "2026-01-01"]),
    st.text(max_size=8).filter(lambda text: text.isprintable()),
)


@given(LOOKS_LIKE_MORE, LOOKS_LIKE_MORE)
def test_a_text_that_looks_like_something_else_is_written_so_that_it_stays_one(
    key: str, value: str
) -> None:
    assert load(dump_value(value)) == value
    assert load(dump({"k" + key: [value]})) == {"k" + key: [value]}


@given(st.floats(allow_nan=False, allow_infinity=False))
def test_a_number_is_written_so_that_it_stays_one(value: float) -> None:
    found = load(dump_value(value))
    assert (found, type(found)) == (value, float)
