"""Scores travel in all digits, and what are none are refused."""

from __future__ import annotations

import math
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rvpo.judge.scores import Scores

FINITE = st.floats(allow_nan=False, allow_infinity=False)


@settings(deadline=None)
@given(st.lists(FINITE, min_size=1, max_size=5), st.text(max_size=20))
def test_scores_come_back_as_they_were(values: list[float], label: str) -> None:
    scores = Scores(tuple(values), label)
    assert Scores.from_text(scores.to_text()) == scores
    assert values[scores.best] == max(values)


@pytest.mark.parametrize("values", [(), (math.nan,), (0.5, math.inf), (True,), ("1",), (10**400,)])
def test_what_is_no_finite_number_is_no_score(values: Any) -> None:
    with pytest.raises(ValueError, match="no finite number"):
        Scores(values)


@settings(deadline=None)
@given(st.text() | st.sampled_from(["[]", "{}", '{"scores": 3}', '{"scores": [null]}', "[" * 99]))
def test_another_text_holds_no_scores(text: str) -> None:
    with pytest.raises(ValueError, match=r"score|line \d+ column \d+"):
        Scores.from_text(text)
