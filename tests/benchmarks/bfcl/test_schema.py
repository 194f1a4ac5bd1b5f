"""Function descriptions as tools."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rvpo.benchmarks.bfcl.check import check
from rvpo.benchmarks.bfcl.distribution import Wheel
from rvpo.benchmarks.bfcl.rows import Language, load
from rvpo.benchmarks.bfcl.schema import tools
from rvpo.errors import ConfigError
from tests.benchmarks.bfcl.rows import CITY, function

JSON_TYPES = {"object", "array", "string", "number", "integer", "boolean"}


def converted(schema: dict[str, Any], language: Language = "python") -> Any:
    (definition,) = tools([function({"x": schema})], language).definitions
    assert definition["type"] == "function"
    return definition["function"]["parameters"]["properties"]["x"]


@pytest.mark.parametrize(
    ("declared", "kind"),
    [
        ("dict", "object"),
        ("integer", "integer"),
        ("boolean", "boolean"),
        ("tuple", "array"),
        ("array", "array"),
        ("any", "string"),
        ("string", "string"),
        ("frobnicate", "string"),
        ("", "string"),
    ],
)
def test_types_become_those_of_json_schema(declared: str, kind: str) -> None:
    assert converted({"type": declared, "description": "X."}) == {
        "type": kind,
        "description": "X.",
    }


def test_what_has_no_type_is_a_string() -> None:
    assert converted({"description": "X."})["type"] == "string"


def test_a_float_is_a_number_and_says_so() -> None:
    assert converted({"type": "float", "description": "X."}) == {
        "type": "number",
        "format": "float",
        "description": "X. A float.",
    }
    assert converted({"type": "float"})["description"] == "A float."


def test_types_are_converted_all_the_way_down() -> None:
    table = {"type": "dict", "properties": {"a": {"type": "tuple", "items": {"type": "float"}}}}
    deep = {"type": "array", "items": {"type": "array", "items": table}}
    found = converted(deep)["items"]["items"]
    assert found["type"] == "object"
    assert found["properties"]["a"] == {"type": "array", "items": {"type": "number"}}


def test_all_else_is_kept() -> None:
    schema = {"type": "string", "enum": ["a", "b"], "default": "a", "description": "X."}
    assert converted(schema) == schema
    (definition,) = tools([function({"x": schema}, ["x"])], "python").definitions
    assert definition["function"]["parameters"]["required"] == ["x"]


@pytest.mark.parametrize(
    ("schema", "language", "told"),
    [
        ({"type": "long"}, "java", "a Java value of type long"),
        ({"type": "any"}, "java", "a Java value of any type"),
        ({"type": "ArrayList", "items": {"type": "char"}}, "java", "elements are of type char"),
        ({"type": "Bigint"}, "javascript", "a JavaScript value of type Bigint"),
        ({"type": "array", "items": {"type": "any"}}, "javascript", "elements are of type any"),
        ({"type": "dict", "properties": {"a": CITY}}, "javascript", json.dumps({"a": CITY})),
    ],
)
def test_values_of_other_languages_are_texts_whose_description_tells_the_type(
    schema: dict[str, Any], language: Language, told: str
) -> None:
    result = converted({**schema, "description": "X."}, language)
    assert set(result) == {"type", "description"}
    assert result["type"] == "string"
    assert result["description"].startswith("X. ")
    assert told in result["description"]


@pytest.mark.parametrize(
    ("language", "name"), [("python", "Python 3"), ("java", "Java 8"), ("javascript", "JavaScript")]
)
def test_the_language_is_told(language: Language, name: str) -> None:
    (definition,) = tools([function({})], language).definitions
    assert name in definition["function"]["description"]


def test_descriptions_are_left_as_they_were() -> None:
    functions = [function({"x": {"type": "array", "description": "", "items": {"type": "any"}}})]
    before = json.dumps(functions)
    for language in ("python", "javascript"):
        tools(functions, language)
    assert json.dumps(functions) == before


def test_an_answer_is_mapped_back_to_the_name_with_dots() -> None:
    described = function({}, name="news.daily.read")
    given = tools([described], "python")
    (definition,) = given.definitions
    assert definition["function"]["name"] == "news_daily_read"
    for answered, is_right in {"news_daily_read": True, "news.daily.read": False}.items():
        calls = [{given.own_name(answered): {}}]
        truth = [{"news.daily.read": {}}]
        assert check([described], calls, truth, "python", "simple_python").valid is is_right


@given(st.lists(st.text(alphabet="ab._", min_size=1), unique_by=lambda name: name.count("a")))
def test_every_shown_name_maps_back(names: list[str]) -> None:
    given = tools([function({}, name=name) for name in names], "python")
    shown = [each["function"]["name"] for each in given.definitions]
    assert [given.own_name(name) for name in shown] == names


def test_two_functions_under_one_name_are_refused() -> None:
    with pytest.raises(ConfigError, match=r"'a\.b' and 'a_b' are both shown as 'a_b'"):
        tools([function({}, name="a.b"), function({}, name="a_b")], "python")


def test_all_types_of_all_rows_are_those_of_json_schema(wheel: Wheel) -> None:
    def types(schema: Any) -> set[str]:
        found = {schema["type"]}
        for entry in [*schema.get("properties", {}).values(), schema.get("items", schema)]:
            found |= types(entry) if entry is not schema else set()
        return found

    for row in load(wheel):
        for definition in tools(row.functions, row.language).definitions:
            assert types(definition["function"]["parameters"]) <= JSON_TYPES
