"""Rewards of length."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from rvpo.rewards.length import cosine, linear, soft_overlong


def test_the_score_falls_over_the_margin_and_no_further() -> None:
    lengths = (0, 6, 8, 9, 10, 15)
    ids = [[0] * length for length in lengths]
    scores = soft_overlong(ids, longest=10, margin=4)
    assert scores == [0.0, 0.0, -0.5, -0.75, -1.0, -1.0]


@pytest.mark.parametrize("margin", [0, 11])
def test_a_margin_that_cannot_be_is_refused(margin: int) -> None:
    with pytest.raises(ValueError, match="margin must be from 1 to longest=10"):
        soft_overlong([[1]], longest=10, margin=margin)


def test_a_line_and_a_wave_fall_between_the_shortest_and_the_longest() -> None:
    ids = [[0] * length for length in (0, 2, 4, 6, 8, 10, 20)]
    assert linear(ids, longest=10, shortest=2) == [1.0, 1.0, 0.75, 0.5, 0.25, 0.0, 0.0]
    wave = cosine(ids, longest=10, shortest=2)
    assert wave == pytest.approx([1.0, 1.0, 0.853553, 0.5, 0.146447, 0.0, 0.0], abs=1e-6)


@pytest.mark.parametrize("function", [linear, cosine])
def test_the_ends_are_as_they_are_given_and_may_rise(function: Callable[..., list[float]]) -> None:
    scores = function([[], [0] * 5, [0] * 10], longest=10, start=-1.0, end=-0.5)
    assert scores == pytest.approx([-1.0, -0.75, -0.5])


@pytest.mark.parametrize("function", [linear, cosine])
def test_the_answer_alone_can_count(function: Callable[..., list[float]]) -> None:
    ids = [[0] * 9]
    scores = function(ids, longest=4, of="answer", thought_tokens=[7], answer_tokens=[2])
    assert scores == pytest.approx([0.5])


@pytest.mark.parametrize("function", [linear, cosine])
def test_lengths_that_are_not_in_order_are_refused(function: Callable[..., list[float]]) -> None:
    with pytest.raises(ValueError, match="shortest must be from 0 to below longest=4, got 4"):
        function([[0]], longest=4, shortest=4)
    with pytest.raises(ValueError, match="of must be one of"):
        function([[0]], longest=4, of="question")
