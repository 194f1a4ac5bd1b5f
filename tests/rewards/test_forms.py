"""Rewards of a text's form: its repetition, its language, its JSON, its pattern."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rvpo.errors import ConfigError
from rvpo.rewards.json_schema import valid
from rvpo.rewards.language import language_of, spoken
from rvpo.rewards.regular_expression import matched
from rvpo.rewards.repetition import repeated
from rvpo.types import Failed


def test_repetition_is_the_share_of_ngrams_that_came_before() -> None:
    assert repeated(["a b c a b c"], n=3) == [-0.25]
    assert repeated(["A b, a B. a b"], n=2, penalty=-2.0) == [pytest.approx(-2 * 3 / 5)]
    assert repeated(["", "a b", "one two three"]) == [0.0, 0.0, 0.0]
    assert repeated(["再见再见再见"], n=2) == [pytest.approx(-3 / 5)]


@settings(deadline=None, max_examples=50)
@given(st.lists(st.sampled_from("abc"), max_size=30), st.integers(1, 4))
def test_repetition_lies_between_the_penalty_and_nothing(words: list[str], n: int) -> None:
    (score,) = repeated([" ".join(words)], n=n)
    assert -1.0 < score <= 0.0
    (twice,) = repeated([" ".join(words * 2)], n=n)
    assert twice <= score


def test_repetition_of_nothing_is_refused() -> None:
    with pytest.raises(ValueError, match="n must be at least 1"):
        repeated(["a"], n=0)


ENGLISH = "We went for a long walk along the river today."
GERMAN = "Wir haben heute einen langen Spaziergang am Fluss gemacht."


def test_an_answer_is_wanted_in_the_language_that_is_named() -> None:
    chat = [[{"role": "user", "content": GERMAN}]] * 2
    assert spoken([ENGLISH, GERMAN], chat, language="de") == [0.0, 1.0]
    assert spoken([ENGLISH, GERMAN], chat, column="to", to=["en-GB", None]) == [1.0, None]
    assert spoken([ENGLISH, GERMAN], chat) == [0.0, 1.0]
    assert spoken([ENGLISH], [GERMAN]) == [0.0]


def test_case_code_and_formulas_do_not_change_a_language() -> None:
    assert language_of(ENGLISH.upper()) == "en"
    assert language_of(f"{GERMAN}\n```python\nfor each in the_list: print(each)\n```") == "de"


@pytest.mark.parametrize("text", ["", "42 km", "OK", "`return value`", "$x + y = 2$"])
def test_too_little_text_is_of_no_language(text: str) -> None:
    assert spoken([text], ["?"], language="en") == [None]


def test_a_language_that_is_none_is_refused() -> None:
    with pytest.raises(ValueError, match=r"language must be a code .* got 'klingon'"):
        spoken([ENGLISH], ["?"], language="klingon")


SCHEMA = {"type": "object", "properties": {"a": {"type": "integer"}}, "required": ["a"]}


def test_json_counts_where_it_fits_the_schema() -> None:
    texts = ['{"a": 1}', '{"a": "1"}', "{}", '{"a": NaN}', "{'a': 1}", "[" * 100_000, ""]
    assert valid(texts, schema=SCHEMA) == [1.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0]
    assert valid(["3", "x"], schema={}) == [1.0, 0.0]


def test_json_in_fences_counts_where_that_is_allowed() -> None:
    text = 'So:\n```json\n{"a": 1}\n```\n'
    assert valid([text], schema=SCHEMA) == [0.0]
    assert valid([text, '{"a": 1}'], schema=SCHEMA, within="fences") == [1.0, 1.0]


def test_each_row_can_have_a_schema() -> None:
    cells: list[Any] = [SCHEMA, json.dumps(SCHEMA), None, {"type": "nothing"}, "{"]
    first, second, none, *wrong = valid(['{"a": 1}'] * 5, column="form", form=cells)
    assert (first, second, none) == (1.0, 1.0, None)
    assert all(isinstance(each, Failed) for each in wrong)


def test_nothing_is_fetched_for_a_schema() -> None:
    (score,) = valid(["1"], schema={"$ref": "http://127.0.0.1:9/schema.json"})
    assert isinstance(score, Failed)
    assert "leads nowhere" in score.reason


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        ({}, "give one of schema and column"),
        ({"schema": {}, "column": "a"}, "give one of schema and column"),
        ({"schema": {"type": 5}}, "the schema is wrong"),
        ({"schema": {}, "within": "text"}, "within must be"),
    ],
)
def test_a_wrong_schema_is_refused(arguments: dict[str, Any], sentence: str) -> None:
    with pytest.raises(ValueError, match=sentence):
        valid(["1"], **arguments)


def test_a_column_of_schemas_must_be_there() -> None:
    with pytest.raises(ConfigError, match="no column 'form', but none"):
        valid(["1"], column="form")


def test_a_pattern_is_looked_for_where_it_is_wanted() -> None:
    texts = ["Answer: 3", "The Answer: 3", "Answer: 3\nmore"]
    pattern = r"Answer: \d"
    assert matched(texts, pattern) == [1.0, 1.0, 1.0]
    assert matched(texts, pattern, where="start") == [1.0, 0.0, 1.0]
    assert matched(texts, pattern, where="whole") == [1.0, 0.0, 0.0]
    assert matched(texts, "answer: .*", where="whole", flags="is") == [1.0, 0.0, 1.0]
    assert matched(["a a", "a"], "a", times=2) == [1.0, 0.0]


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        ({"pattern": "("}, "is no regular expression"),
        ({"pattern": "a", "flags": "g"}, "flags must be of"),
        ({"pattern": "a", "where": "end"}, "where must be"),
        ({"pattern": "a", "where": "whole", "times": 1}, "leave where out"),
    ],
)
def test_a_wrong_pattern_is_refused(arguments: dict[str, Any], sentence: str) -> None:
    with pytest.raises(ValueError, match=sentence):
        matched(["a"], **arguments)


@pytest.mark.parametrize("schema", [{"multipleOf": 0.1}, {"maximum": 3}, {"type": "object"}])
@pytest.mark.parametrize("answer", ["1e400", "-1e400", "[1e999]", "9" * 400, "9" * 5000])
def test_a_number_beyond_all_bounds_fits_no_schema(schema: dict[str, Any], answer: str) -> None:
    assert valid([answer], schema=schema) == [0.0]


@pytest.mark.parametrize(
    "cell",
    [
        "5",
        5,
        float("nan"),
        [1],
        "null",
        {"$schema": 5},
        {"pattern": "^\\p{L}+$"},
        {"patternProperties": {"(": {}}},
        {"properties": {"a": {"$ref": "#/nowhere"}}},
        {"anyOf": [{"type": "integer"}, {"$ref": "http://127.0.0.1:9/schema.json"}]},
        {"const": object()},
    ],
)
def test_a_row_with_a_wrong_schema_fails_whatever_the_answer(cell: Any) -> None:
    scores = valid(["3", '"a"', '{"a": 1}', "no JSON"], column="form", form=[cell] * 4)
    assert all(isinstance(each, Failed) for each in scores)


def test_references_within_a_schema_are_followed() -> None:
    tree = {
        "$defs": {"node": {"type": "array", "items": {"$ref": "#/$defs/node"}}},
        "$ref": "#/$defs/node",
        "examples": [{"$ref": "#/nowhere"}],
    }
    named = {"$id": "http://a/b", "$defs": {"n": {"$id": "c", "type": "array"}}, "$ref": "c"}
    for schema in (tree, named):
        assert valid(["[[]]", "{}"], schema=schema) == [1.0, 0.0]


@pytest.mark.parametrize("cell", ["English", float("nan"), 5, ["en", "de"], False])
def test_a_row_that_names_no_language_fails_alone(cell: Any) -> None:
    wrong, right = spoken([ENGLISH] * 2, ["?"] * 2, column="to", to=[cell, "en"])
    assert isinstance(wrong, Failed)
    assert right == 1.0


def test_half_a_surrogate_does_not_hide_a_language() -> None:
    assert language_of(f"{ENGLISH} \ud800") == "en"
