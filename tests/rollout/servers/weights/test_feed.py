"""Weights handed from the thread that gathers to the one that sends."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from rvpo.rollout.servers.weights.aside import aside
from rvpo.rollout.servers.weights.feed import Feed, SendingEnded

LONG_S = 60.0


class Walked:
    """Weights that count how many of them were walked through."""

    def __init__(self, number: int, fails_at: int | None = None) -> None:
        self.number = number
        self.fails_at = fails_at
        self.walked = 0

    def __iter__(self) -> Iterator[tuple[str, Tensor]]:
        for at in range(self.number):
            if at == self.fails_at:
                raise ValueError("torn")
            self.walked += 1
            yield str(at), torch.tensor(at)


def taken(feed: Feed, most: int | None = None, error: Exception | None = None) -> list[int]:
    """What a sender takes, which fails after so many."""
    found: list[int] = []
    try:
        for _, weight in feed:
            found.append(int(weight))
            if len(found) == most and error is not None:
                raise error
    except (KeyError, SendingEnded) as raised:
        feed.finish(raised)
    else:
        feed.finish(None)
    return found


@given(number=st.integers(0, 20))
@settings(deadline=None, max_examples=20)
def test_all_weights_come_once_and_in_order(number: int) -> None:
    feed = Feed([], LONG_S)
    taking = aside(lambda: taken(feed))
    feed.give(Walked(number))
    assert feed.outcome(LONG_S) is None
    assert taking.result(LONG_S) == list(range(number))


@given(number=st.integers(1, 20), data=st.data())
@settings(deadline=None, max_examples=20)
def test_the_walk_goes_on_to_its_end_where_the_sender_fails(
    number: int, data: st.DataObject
) -> None:
    most = data.draw(st.integers(1, number))
    feed, weights, error = Feed([], LONG_S), Walked(number), KeyError("gone")
    taking = aside(lambda: taken(feed, most, error))
    feed.give(weights)
    assert weights.walked == number
    assert feed.outcome(LONG_S) is error
    assert len(taking.result(LONG_S)) == most


def test_the_walk_goes_on_to_its_end_where_nobody_takes_anything() -> None:
    feed, weights = Feed([], 0.01), Walked(5)
    feed.give(weights)
    assert weights.walked == 5
    assert isinstance(feed.outcome(LONG_S), TimeoutError)


def test_a_sender_that_never_ends_is_not_waited_for_for_ever() -> None:
    feed = Feed([], LONG_S)
    feed.give(Walked(0))
    assert isinstance(feed.outcome(0.01), TimeoutError)


def test_a_walk_that_fails_ends_the_sender_and_fails_itself() -> None:
    feed = Feed([], LONG_S)
    taking = aside(lambda: taken(feed))
    with pytest.raises(ValueError, match="torn"):
        feed.give(Walked(5, fails_at=3))
    assert taking.result(LONG_S) == [0, 1, 2][: len(taking.result())]
    assert isinstance(feed.outcome(LONG_S), ValueError)


def test_the_first_end_counts() -> None:
    feed, first = Feed([], LONG_S), KeyError("first")
    feed.finish(first)
    feed.finish(None)
    feed.finish(ValueError("second"))
    assert feed.outcome(LONG_S) is first
