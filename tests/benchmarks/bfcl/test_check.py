"""The rules of the checker, one by one, on invented rows."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rvpo.benchmarks.bfcl.check import check, check_relevance
from rvpo.benchmarks.bfcl.values import plain
from tests.benchmarks.bfcl.rows import CITY, function, judge, list_of

DAYS = {"type": "integer"}
WEATHER = function({"city": CITY, "days": DAYS, "unit": CITY}, ["city"])
NEWS = function({"topic": CITY}, ["topic"], name="news.read")
OSLO = {"weather": {"city": ["Oslo", "Oslo, Norway"], "days": [1, ""], "unit": ["C"]}}
SPORT = {"news.read": {"topic": ["sport"]}}


def weather(**parameters: Any) -> dict[str, Any]:
    return {"weather": parameters}


RIGHT = weather(city="Oslo", days=1, unit="C")


@pytest.mark.parametrize(
    ("calls", "reason"),
    [
        ([RIGHT], None),
        ([weather(city="Oslo, Norway", unit="C")], None),
        ([], "wrong_count"),
        ([RIGHT, RIGHT], "wrong_count"),
        ([{"forecast": RIGHT["weather"]}], "wrong_function"),
        ([{"Weather": RIGHT["weather"]}], "wrong_function"),
        ([weather(days=1, unit="C")], "missing_parameter"),
        ([weather(city="Oslo", unit="C", hours=1)], "unexpected_parameter"),
        ([weather(city="Oslo", days=1)], "omitted_parameter"),
        ([weather(city="Oslo", days="1", unit="C")], "wrong_type"),
        ([weather(city="Rome", days=1, unit="C")], "wrong_value"),
        ([weather(city="Oslo", days=2, unit="C")], "wrong_value"),
        (None, "wrong_format"),
        (RIGHT, "wrong_format"),
        ([{}], "wrong_format"),
        ([RIGHT | {"news.read": {}}], "wrong_format"),
        ([{"weather": None}], "wrong_format"),
    ],
)
@pytest.mark.parametrize("category", ["simple_python", "live_multiple"])
def test_a_wrong_call_has_a_reason(calls: Any, reason: str | None, category: str) -> None:
    verdict = check([WEATHER, NEWS], calls, [OSLO], "python", category)
    assert (verdict.valid, verdict.reason) == (reason is None, reason)
    assert bool(verdict.detail) is (reason is not None)


def test_a_required_parameter_that_is_not_in_the_ground_truth_cannot_be_right() -> None:
    for call in (weather(city="Oslo"), weather()):
        verdict = check([WEATHER], [call], [{"weather": {}}], "python", "simple_python")
        assert not verdict.valid


def test_of_one_function_the_description_names_it() -> None:
    truth = [{"old_name": {"topic": ["sport"]}}]
    call = [{"news.read": {"topic": "sport"}}]
    assert check([NEWS], call, truth, "python", "simple_python").valid
    assert check([NEWS], call, truth, "python", "multiple").reason == "error"


def test_dots_in_names_are_compared() -> None:
    calls = [{"news_read": {"topic": "sport"}}]
    assert check([NEWS], calls, [SPORT], "python", "simple_python").reason == "wrong_function"


@pytest.mark.parametrize("category", ["parallel", "parallel_multiple", "live_parallel_multiple"])
def test_calls_may_come_in_any_order(category: str) -> None:
    calls = [{"news.read": {"topic": "sport"}}, RIGHT]
    for ordered in (calls, calls[::-1]):
        assert check([WEATHER, NEWS], ordered, [OSLO, SPORT], "python", category).valid


@pytest.mark.parametrize(
    ("calls", "reason"),
    [
        ([RIGHT], "wrong_count"),
        ([RIGHT, RIGHT, RIGHT], "wrong_count"),
        ([RIGHT, RIGHT], "no_match"),
        ([RIGHT, {"news.read": {"topic": "art"}}], "no_match"),
        ([weather(topic="sport"), {"news.read": RIGHT["weather"]}], "no_match"),
    ],
)
def test_every_wanted_call_is_made_once(calls: Any, reason: str) -> None:
    assert check([WEATHER, NEWS], calls, [OSLO, SPORT], "python", "parallel").reason == reason


def test_a_call_is_used_up_by_the_first_wanted_call_it_fits() -> None:
    either, one = {"f": {"x": ["a", "b"]}}, {"f": {"x": ["a"]}}
    described = [function({"x": CITY}, name="f")]
    calls = [{"f": {"x": "a"}}, {"f": {"x": "b"}}]
    assert check(described, calls, [one, either], "python", "parallel").valid
    assert check(described, calls, [either, one], "python", "parallel").reason == "no_match"
    assert check(described, calls[::-1], [either, one], "python", "parallel").valid


def test_where_the_original_raises_no_other_call_is_tried() -> None:
    described = [function({"x": {"type": "float"}}, name="f")]
    truth = [{"f": {"x": [1.0]}}, {"f": {"x": [2.0]}}]
    calls = [{"f": {"x": 10**400}}, {"f": {"x": 1}}]
    assert check(described, calls, truth, "python", "parallel").reason == "error"


@pytest.mark.parametrize(
    ("declared", "value", "accepted"),
    [
        ("float", 5, [5.0]),  # an integer passes for a float
        ("float", 5.0, [5]),
        ("string", "a", ["a"]),
        ("any", "a", ["A"]),
        ("any", 5, [5]),
        ("integer", "n", ["n"]),  # a variable
        ("boolean", 1, [1]),
        ("boolean", None, [None]),
        ("tuple", (1, 2), [[1, 2]]),
        ("tuple", [1, 2], [[1, 2]]),
        ("array", [], ["", [1]]),  # what may be left out may be empty
        ("array", [1.5, "x"], ["", [1.5, "x"]]),
        ("array", [True], [[1], ""]),
        ("array", ["A,", 1], [["a", 1], ""]),
        ("dict", {"a": 1}, [{"a": [1]}]),
        ("dict", {"a": True}, [{"a": [1]}]),
        ("dict", {"a": "X."}, [{"a": ["x"], "b": ["", 2]}]),
        ("dict", {"a": "x"}, [{"a": "xyz"}]),  # a text is its characters
        ("dict", {}, [{}]),
    ],
)
def test_odd_values_pass(declared: str, value: Any, accepted: list[Any]) -> None:
    schema = list_of("integer", declared) if declared in ("array", "tuple") else declared
    if value and declared == "array" and type(value[0]) is str:
        schema = list_of("string")
    assert judge(schema, value, accepted).valid


@pytest.mark.parametrize(
    ("declared", "value", "accepted", "reason"),
    [
        ("integer", 5.0, [5], "wrong_type"),
        ("integer", True, [1], "wrong_type"),
        ("boolean", 1, [True], "wrong_type"),
        ("float", "5", [5.0], "wrong_type"),
        ("string", 5, ["5"], "wrong_type"),
        ("string", None, ["None", ""], "wrong_type"),
        ("array", (1, 2), [[1, 2]], "wrong_type"),
        ("array", [1, "x"], [[1, 2]], "wrong_type"),
        ("array", [1, None], [[1, 2]], "wrong_type"),
        ("array", [2, 1], [[1, 2]], "wrong_value"),
        ("array", [1], [], "wrong_type"),
        ("integer", "m", ["n"], "wrong_value"),
        ("integer", "N", ["n"], "wrong_value"),  # a variable is compared exactly
        ("string", "a", [1, "b"], "wrong_value"),
        ("dict", {"a": 1, "b": 2}, [{"a": [1]}], "wrong_value"),
        ("dict", {}, [{"a": [1]}], "wrong_value"),
        ("dict", {"a": 2}, [{"a": [1]}], "wrong_value"),
        ("dict", {"a": {"b": "X"}}, [{"a": [{"b": "x"}]}], "wrong_value"),
        ("dict", {}, [""], "wrong_value"),
    ],
)
def test_wrong_values_fail(declared: str, value: Any, accepted: list[Any], reason: str) -> None:
    schema = list_of("integer") if declared == "array" else declared
    assert judge(schema, value, accepted).reason == reason


def test_lists_of_tables_are_compared_table_by_table() -> None:
    accepted = [[{"a": [1]}, {"a": [2, 3]}]]
    assert judge(list_of("dict"), [{"a": 1}, {"a": 3}], accepted).valid
    for wrong in ([{"a": 3}, {"a": 1}], [{"a": 1}], [{"a": 1}, {"a": 2}, {"a": 3}]):
        assert judge(list_of("dict"), wrong, accepted).reason == "wrong_value"


@given(st.text(), st.text(alphabet=" ,./-_*^"), st.data())
def test_text_is_compared_without_case_and_punctuation(text: str, noise: str, data: Any) -> None:
    place = data.draw(st.integers(0, len(text)))
    noisy = text[:place] + noise + text[place:]
    assert judge("string", noisy, ["other", text]).valid
    assert judge("string", noisy.replace('"', "'"), [text]).valid
    assert judge("string", noisy + ";", [text]).reason == "wrong_value"


VALUES = st.one_of(
    st.tuples(st.just({"type": "string"}), st.text()),
    st.tuples(st.just({"type": "integer"}), st.integers()),
    st.tuples(st.just({"type": "float"}), st.floats(allow_nan=False)),
    st.tuples(st.just({"type": "boolean"}), st.booleans()),
    st.tuples(st.just(list_of("integer")), st.lists(st.integers())),
    st.tuples(st.just(list_of("string")), st.lists(st.text())),
    st.tuples(st.just({"type": "dict"}), st.dictionaries(st.text(), st.integers(), min_size=1)),
)
FUNCTIONS = st.dictionaries(st.text(min_size=1), VALUES, max_size=4)
SEVERAL = st.dictionaries(st.sampled_from("abcde"), FUNCTIONS, min_size=1)


def accepting(value: Any) -> list[Any]:
    """The accepted values that say just this one."""
    return [{key: [entry] for key, entry in value.items()} if isinstance(value, dict) else value]


@given(SEVERAL, st.data())
def test_the_ground_truth_passes_and_its_order_is_free(several: Any, data: Any) -> None:
    functions = [
        function({key: schema for key, (schema, _) in values.items()}, list(values), name)
        for name, values in several.items()
    ]
    truth = [
        {name: {key: accepting(value) for key, (_, value) in values.items()}}
        for name, values in several.items()
    ]
    calls = [
        {name: {key: value for key, (_, value) in values.items()}}
        for name, values in several.items()
    ]
    shuffled = data.draw(st.permutations(calls))
    assert check(functions, list(shuffled), truth, "python", "parallel_multiple").valid
    short = calls[:-1]
    assert check(functions, short, truth, "python", "parallel").reason == "wrong_count"
    renamed = [*short, {"z": next(iter(calls[-1].values()))}]
    assert check(functions, renamed, truth, "python", "parallel").reason == "no_match"


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)


@given(VALUES, JSON, JSON)
def test_no_answer_makes_the_checker_raise(wanted: Any, value: Any, calls: Any) -> None:
    schema, right = wanted
    assert judge(schema, value, accepting(right)).valid in (True, False)
    assert check([WEATHER], calls, [OSLO], "python", "parallel").valid is False


@given(st.text())
def test_plain_text_stays_plain(text: str) -> None:
    lowered = plain(text)
    assert not set(lowered) & set(" ,./-_*^'")


@pytest.mark.parametrize("nothing", [None, [], [{}], "It rains.", [{"f": None}], [{}, {"f": {}}]])
def test_where_no_call_is_wanted_all_but_calls_pass(nothing: Any) -> None:
    assert check_relevance(nothing, "live_irrelevance").valid
    assert check_relevance(nothing, "live_relevance").reason == "not_called"


def test_any_call_is_relevant_and_none_is_irrelevant() -> None:
    assert check_relevance([{"f": {}}], "live_relevance").valid
    assert check_relevance([{"f": {}}], "irrelevance").reason == "called"
