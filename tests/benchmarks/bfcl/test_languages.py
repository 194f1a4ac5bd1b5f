"""Values in the syntax of Java and JavaScript."""

from __future__ import annotations

import time
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rvpo.benchmarks.bfcl import java, javascript
from rvpo.benchmarks.bfcl.verdict import Crash
from tests.benchmarks.bfcl.rows import judge, list_of


@pytest.mark.parametrize(
    ("text", "declared", "value"),
    [
        ("-5", "integer", -5),
        ("5.0", "integer", "5.0"),
        ("5L", "integer", "5L"),
        ("5L", "long", 5),
        ("5", "long", "5"),
        ("5", "byte", 5),
        ("2.5f", "float", 2.5),
        ("2.5", "float", "2.5"),
        ("2.5e-1", "double", 0.25),
        ("2.5d", "double", "2.5d"),
        (".5", "double", ".5"),
        ("5\n", "integer", 5),
        ("true", "boolean", True),
        ("True", "boolean", "True"),
        ("'a'", "char", "'a'"),
        ('"a"', "String", '"a"'),
        ("5", "any", "5"),
        ("new HashMap<>()", "HashMap", {}),
        ('new HashMap<String, Object>() {{ put("a", 1); put("b", "c"); }}', "HashMap", None),
        ('new HashMap<>() {{ put("a", "}"); }}', "HashMap", {}),
        ("Map.of()", "HashMap", "Map.of()"),
    ],
)
def test_java(text: str, declared: str, value: Any) -> None:
    assert java.convert(text, declared) == ({"a": 1, "b": "c"} if value is None else value)


@pytest.mark.parametrize(
    ("text", "declared", "inner", "value"),
    [
        ("new int[]{1, 2}", "Array", "integer", [1, 2]),
        ("new int[]{1,\n2}", "Array", "integer", "new int[]{1,\n2}"),
        ("x = new int[] { }", "Array", "integer", []),
        ('new String[]{"a", "b"}', "Array", "String", ['"a"', '"b"']),
        ("{1, 2}", "Array", "integer", "{1, 2}"),
        ('new ArrayList<>(Arrays.asList("a", "b"))', "ArrayList", "String", ["a", "b"]),
        ("new ArrayList<>(Arrays.asList(abc))", "ArrayList", "String", ["b"]),
        ('new ArrayList<>(Arrays.asList("a,b"))', "ArrayList", "String", ["", ""]),
        ("new ArrayList<Long>(Arrays.asList(1L, 2))", "ArrayList", "long", [1, "2"]),
        ("new ArrayList<>() {{ add(1); add(2); }}", "ArrayList", "integer", [1, 2]),
        ("new ArrayList<>() {{\n add('a');\n}}", "ArrayList", "char", ["a"]),
        ("new ArrayList<>() {{ add(1); }", "ArrayList", "integer", []),
        ("new ArrayList<>()", "ArrayList", "integer", []),
        ("List.of(1)", "ArrayList", "integer", "List.of(1)"),
        ('new Object[]{1, "a", true, 2L, 3f, 4.5, x}', "Array", None, None),
    ],
)
def test_lists_of_java(text: str, declared: str, inner: str | None, value: Any) -> None:
    expected = [1, "a", True, 2, 3.0, 4.5, "x"] if value is None else value
    assert java.convert(text, declared, inner) == expected


@pytest.mark.parametrize(
    ("text", "declared", "value"),
    [
        ("'a'", "String", "a"),
        ("a", "String", "a"),
        ("'a\"", "String", "'a\""),
        ("5", "integer", 5),
        ("5", "float", 5.0),
        ("5e3", "float", "5e3"),
        ("5n", "Bigint", 5),
        ("5", "Bigint", "5"),
        ("false", "Boolean", False),
        ("5", "any", "5"),
        (" {a: 1, 'b': \"c\", d: [1, 2]} ", "dict", {"a": 1, "b": "c", "d": [1, 2]}),
        ('{a: "5"}', "dict", {"a": 5}),
        ("{a: {b: 1}}", "dict", {"a": "{b: 1"}),
        ("{}", "dict", {}),
        ("{ }", "dict", {}),
        ("{\na: 1}", "dict", "{\na: 1}"),
        ("new Map()", "dict", "new Map()"),
    ],
)
def test_javascript(text: str, declared: str, value: Any) -> None:
    assert javascript.convert(text, declared) == value


@pytest.mark.parametrize(
    ("text", "inner", "value"),
    [
        ("[1, 2]", "integer", [1, 2]),
        ("new Array(1, 2)", "integer", [1, 2]),
        ("[1, x]", "integer", [1, "x"]),
        ("['a', \"b\", c]", "String", ["a", "b", "c"]),
        ("['a]', 'b']", "String", ["'a"]),
        ("[]", "String", []),
        ("[1, 'a', true]", None, [1, "a", True]),
        ("[[1, 2], ['a']]", "array", [[1, 2], ["a"]]),
        ("new Array([1], [2])", "array", [[1], [2]]),
        ("[[1], [2]", "array", ["[1"]),
        ("[{a: 1}]", "dict", [{"a": 1}]),
        ("[" + "1" * 5000 + "]", "integer", "[" + "1" * 5000 + "]"),
        ("list", "integer", "list"),
    ],
)
def test_arrays_of_javascript(text: str, inner: str | None, value: Any) -> None:
    assert javascript.convert(text, "array", inner) == value


@pytest.mark.parametrize("declared", ["Set", "Hashtable", "Queue", "Stack"])
def test_some_collections_of_java_cannot_be_read(declared: str) -> None:
    with pytest.raises(Crash):
        java.convert("new X()", declared)


@pytest.mark.parametrize(
    ("reader", "text", "declared"),
    [
        (javascript, "[" + "[1], " * 5_000, "array"),
        (javascript, "[" + "[1], " * 5_000 + ")", "array"),
        (javascript, "{" + "a, " * 3_000, "dict"),
        (java, "new HashMap<>() {" + " " * 20_000, "HashMap"),
        (java, "new ArrayList<>() {{" + " " * 20_000, "ArrayList"),
    ],
)
def test_cut_off_values_are_read_in_no_time(reader: Any, text: str, declared: str) -> None:
    start = time.monotonic()
    reader.convert(text, declared)
    assert time.monotonic() - start < 10


@given(st.text(), st.sampled_from(sorted(java.TYPES)), st.sampled_from([None, *java.TYPES]))
def test_java_is_read_or_known_to_be_unreadable(text: str, declared: str, inner: Any) -> None:
    try:
        java.convert(text, declared, inner)
    except Crash:
        assert declared in ("Set", "Hashtable", "Queue", "Stack") or inner is not None


@given(st.text(), st.sampled_from(sorted(javascript.TYPES)))
def test_javascript_is_read(text: str, declared: str) -> None:
    value = javascript.convert(text, declared)
    assert value == text or type(value) is javascript.TYPES[declared] or text != text.strip()


def test_values_of_other_languages_are_texts() -> None:
    assert judge("integer", "5", [5], "java").valid
    assert judge("integer", 5, [5], "java").reason == "wrong_type"
    assert judge("integer", "5", [5], "javascript").valid
    assert judge("integer", 5, [5], "javascript").reason == "wrong_type"


def test_text_passes_where_the_ground_truth_has_a_text() -> None:
    assert judge("integer", "n", ["n"], "java").valid
    assert judge("integer", "5", ["n"], "java").reason == "wrong_value"
    assert judge("integer", "m", [5], "java").reason == "wrong_type"


def test_converted_lists_are_compared_as_lists() -> None:
    longs = list_of("long", "ArrayList")
    assert judge(longs, "new ArrayList<>(Arrays.asList(1L))", [[1]], "java").valid
    assert judge(longs, "new ArrayList<>(Arrays.asList(1))", [[1]], "java").reason == "wrong_type"
    assert judge(list_of("String"), "['A', 'b']", [["a", "b"]], "javascript").valid
