"""Scores are what their definitions say, and nothing is a score that lacks a part."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rvpo.benchmarks.bfcl.rows import SINGLE_TURN
from rvpo.benchmarks.bfcl.score import SIZES, CategoryTally, scores
from rvpo.errors import ConfigError

VERSIONS: list[Any] = ["v3", "v4"]


def all_right(version: Any) -> dict[str, CategoryTally]:
    return {category: CategoryTally(size, size) for category, size in SIZES[version].items()}


def all_wrong_but(version: Any, *categories: str) -> dict[str, CategoryTally]:
    return {
        category: CategoryTally(size if category in categories else 0, size)
        for category, size in SIZES[version].items()
    }


@pytest.mark.parametrize("version", VERSIONS)
def test_all_right_is_one_and_all_wrong_is_zero(version: Any) -> None:
    assert {score.value for score in scores(version, all_right(version)).values()} == {1.0}
    assert {score.value for score in scores(version, all_wrong_but(version)).values()} == {0.0}


@pytest.mark.parametrize(
    ("version", "right", "name", "value"),
    [
        ("v3", "simple_java", "simple", 1 / 3),
        ("v3", "simple_java", "non_live", 1 / 15),
        ("v4", "simple_java", "non_live", 1 / 12),
        ("v3", "irrelevance", "non_live", 1 / 5),
        ("v4", "irrelevance", "non_live", 0),
        ("v3", "live_simple", "live", 258 / 2251),
        ("v4", "live_simple", "live", 258 / 1351),
        ("v3", "live_relevance", "live", 18 / 2251),
        ("v4", "live_relevance", "overall", 0),
        ("v3", "live_irrelevance", "all_irrelevance", 1 / 2),
        ("v3", "irrelevance", "overall", 1 / 15),
        ("v4", "irrelevance", "overall", 0.05),
        ("v3", "multi_turn_base", "overall", 1 / 12),
        ("v4", "multi_turn_base", "overall", 0.075),
        ("v4", "memory_kv", "overall", 0.4 / 6),
        ("v4", "web_search_base", "agentic", 1 / 4),
    ],
)
def test_a_category_weighs_as_defined(version: Any, right: str, name: str, value: float) -> None:
    assert scores(version, all_wrong_but(version, right))[name].value == pytest.approx(value)


@pytest.mark.parametrize("version", VERSIONS)
def test_single_turn_rows_alone_have_no_overall_score(version: Any) -> None:
    tallies = {category: all_right(version)[category] for category in SINGLE_TURN}
    result = scores(version, tallies)
    assert (result["live"].value, result["non_live"].value) == (1, 1)
    assert result["overall"].value is None
    assert "multi_turn_base was not run" in result["overall"].missing


@pytest.mark.parametrize("version", VERSIONS)
def test_some_rows_of_a_category_are_no_score(version: Any) -> None:
    tallies = all_right(version) | {"parallel": CategoryTally(20, 20)}
    result = scores(version, tallies)
    assert result["non_live"].value is None
    assert result["non_live"].missing == ("parallel was run on 20 of 200 rows",)
    assert result["live"].value == 1


@given(st.sampled_from(VERSIONS), st.data())
def test_what_is_missing_is_named_where_it_is_needed(version: Any, data: Any) -> None:
    gone = data.draw(st.sampled_from(sorted(SIZES[version])))
    tallies = all_right(version)
    del tallies[gone]
    for name, score in scores(version, tallies).items():
        needed = scores(version, all_wrong_but(version, gone))[name].value != 0
        assert (score.value is None) is needed
        assert score.missing == ((f"{gone} was not run",) if needed else ())


@pytest.mark.parametrize(
    ("tallies", "message"),
    [
        (
            {"simple": CategoryTally(1, 1)},
            "'simple' is no category of BFCL v3; choose from simple_python",
        ),
        ({"memory_kv": CategoryTally(1, 1)}, "'memory_kv' is no category of BFCL v3"),
        ({"parallel": CategoryTally(2, 1)}, "parallel: 2 of 1 rows are right, but it has 200 rows"),
        ({"parallel": CategoryTally(1, 201)}, "parallel: 1 of 201 rows are right"),
    ],
)
def test_a_tally_that_cannot_be_is_refused(tallies: Any, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        scores("v3", tallies)


def test_an_unknown_version_is_refused() -> None:
    with pytest.raises(ConfigError, match="no version 'v5'; choose from v3, v4"):
        scores("v5", {})  # type: ignore[arg-type]
