"""Each token of a completion has the version of the weights that made it, by vLLM's account."""

from __future__ import annotations

from itertools import accumulate, groupby, pairwise
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rvpo.errors import EngineError
from rvpo.rollout.weight_versions import versions_of
from tests.fakes import make_prompt

PROMPT = make_prompt("sum/1")

token_versions = st.lists(st.integers(0, 10**6), min_size=1, max_size=12)


def spans_of(each: list[int]) -> list[dict[str, Any]]:
    """vLLM's account of tokens with these versions."""
    runs = [(version, len(list(run))) for version, run in groupby(each)]
    bounds = pairwise(accumulate((size for _, size in runs), initial=0))
    return [
        {"version": str(version), "start": start, "end": end}
        for (version, _), (start, end) in zip(runs, bounds, strict=True)
    ]


@settings(deadline=None)
@given(token_versions, st.booleans())
def test_every_token_has_the_version_of_its_span(each: list[int], by_key: bool) -> None:
    spans: list[Any] = spans_of(each)
    if not by_key:
        spans = [SimpleNamespace(**span) for span in spans]
    oldest, versions = versions_of(PROMPT, spans, len(each), in_flight=True)
    assert oldest == min(each)
    assert versions == (tuple(each) if len(set(each)) > 1 else ())


@settings(deadline=None)
@given(token_versions)
def test_several_versions_are_refused_where_weights_may_not_come_in_between(
    each: list[int],
) -> None:
    each = [*each, each[-1] + 1]
    with pytest.raises(EngineError, match=r"'sum/1' with weights of several versions \("):
        versions_of(PROMPT, spans_of(each), len(each), in_flight=False)
    each = each[:1] * len(each)
    assert versions_of(PROMPT, spans_of(each), len(each), in_flight=False) == (each[0], ())


@settings(deadline=None)
@given(token_versions, st.data())
def test_spans_that_do_not_cover_the_tokens_are_refused(each: list[int], data: Any) -> None:
    spans = spans_of(each)
    place = data.draw(st.integers(0, len(spans) - 1))
    broken = data.draw(
        st.sampled_from(
            [
                {"version": "default"},
                {"version": None},
                {"version": "-1"},
                {"start": spans[place]["start"] + 1},
                {"start": None},
                {"end": spans[place]["end"] + 1},
                {"end": str(spans[place]["end"])},
            ]
        )
    )
    spans[place] = spans[place] | broken
    with pytest.raises(EngineError, match="does not say which weights made"):
        versions_of(PROMPT, spans, len(each), in_flight=True)


@pytest.mark.parametrize("spans", [None, [], [{"version": "0", "start": 0, "end": 2}], [7], [{}]])
def test_a_completion_without_an_account_of_its_weights_is_refused(spans: Any) -> None:
    with pytest.raises(EngineError, match="does not say which weights made"):
        versions_of(PROMPT, spans, 3, in_flight=True)


def test_a_completion_without_tokens_has_no_version() -> None:
    with pytest.raises(EngineError, match="0 tokens"):
        versions_of(PROMPT, [], 0, in_flight=True)
