"""When an endpoint may be asked."""

from __future__ import annotations

import math
from itertools import accumulate

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rvpo.judge.worker.limits import (
    BURST_S,
    FIRST_PAUSE_S,
    LONGEST_PAUSE_S,
    MOST_FAILURES,
    WINDOW_S,
    Breaker,
    Pace,
    Window,
    share_of,
)


@given(st.integers(1, 10_000), st.integers(1, 64))
def test_shares_add_up_to_the_limit_and_differ_by_at_most_one(limit: int, count: int) -> None:
    shares = [share_of(limit, index, count) for index in range(count)]
    assert sum(shares) == limit
    assert max(shares) - min(shares) <= 1


def most_in_a_minute(events: list[tuple[float, int]]) -> int:
    """The most units that a server sees in any 60 s."""
    events = sorted(events)
    totals = [0, *accumulate(units for _, units in events)]
    most, start = 0, 0
    for end, (now, _) in enumerate(events):
        while events[start][0] < now - 60:
            start += 1
        most = max(most, totals[end + 1] - totals[start])
    return most


@settings(deadline=None)
@given(st.integers(1, 400), st.lists(st.floats(0, 90), max_size=20), st.data())
def test_no_minute_sees_more_requests_than_the_limit(
    limit: int, idle: list[float], data: st.DataObject
) -> None:
    pace, now, seen = Pace(limit), 1000.0, []
    for number in range(3 * limit):
        if number < len(idle):
            now += idle[number]
        now = max(now, pace.ready_at(now, 1))
        pace.settle(now, pace.reserve(now, 1), 1)
        jitter = data.draw(st.floats(0, 0.99)) if number < 30 else 0.0
        seen.append((now + jitter, 1))
    assert most_in_a_minute(seen) <= limit


@settings(deadline=None)
@given(
    st.lists(
        st.tuples(st.integers(1, 300), st.integers(0, 300), st.floats(0.01, 30)),
        min_size=1,
        max_size=150,
    ),
    st.integers(300, 2000),
)
def test_no_minute_sees_more_tokens_than_the_limit_however_the_server_counts(
    calls: list[tuple[int, int, float]], limit: int
) -> None:
    """Calls of (estimate, what they used of it, latency), each sent as soon as it may be."""
    pace, now = Pace(limit), 0.0
    flying: list[tuple[float, int, int]] = []
    on_arrival, on_reply = [], []
    for estimate, share, latency in calls:
        used = min(estimate, share)
        while (moment := pace.ready_at(now, estimate)) > now:
            landing = min(flying, default=(math.inf, 0, 0))
            assert min(moment, landing[0]) < math.inf
            now = max(now, min(moment, landing[0]))
            if landing[0] <= now:
                flying.remove(landing)
                pace.settle(now, landing[1], landing[2])
        flying.append((now + latency, pace.reserve(now, estimate), used))
        on_arrival.append((now, used))
        on_reply.append((now + latency, used))
        for landing in [call for call in flying if call[0] <= now]:
            flying.remove(landing)
            pace.settle(now, landing[1], landing[2])
    assert most_in_a_minute(on_arrival) <= limit
    assert most_in_a_minute(on_reply) <= limit


def test_requests_flow_evenly_and_nearly_at_the_limit() -> None:
    pace, now, sent = Pace(600), 0.0, []
    while now < 300:
        now = max(now, pace.ready_at(now, 1))
        pace.settle(now, pace.reserve(now, 1), 1)
        sent.append(now)
    assert sum(moment < 1 for moment in sent) <= 2 * 600 / 60 * BURST_S + 1
    assert len(sent) > 0.98 * 600 * 5


def test_a_correction_frees_what_was_reserved_too_much() -> None:
    pace = Pace(1000)
    reserved = pace.reserve(0.0, 900)
    assert pace.ready_at(0.0, 200) == math.inf  # it depends on the call in flight
    pace.settle(0.1, reserved, 50)
    assert pace.ready_at(3.0, 200) <= 3.0


def test_a_call_larger_than_the_limit_goes_alone() -> None:
    pace = Pace(100)
    reserved = pace.reserve(0.0, 5000)
    pace.settle(1.0, reserved, 100)
    assert pace.ready_at(1.0, 1) == pytest.approx(1.0 + WINDOW_S)


def test_a_window_halves_once_for_all_calls_of_one_overload() -> None:
    window = Window(64)
    assert window.halve(10.0, started=9.0)
    assert not window.halve(10.1, started=9.5)
    window.in_flight = 31
    assert window.has_room
    window.in_flight = 32
    assert not window.has_room
    assert window.halve(11.0, started=10.5)
    assert window.load == 2.0


def test_a_window_never_closes_and_regains_about_one_call_per_round_trip() -> None:
    window = Window(8)
    for moment in range(10):
        window.halve(float(moment), started=float(moment))
    assert window.has_room
    for size in (1, 2, 3):
        for _ in range(size + 1):
            window.grow()
        window.in_flight = size
        assert window.has_room
    for _ in range(1000):
        window.grow()
    window.in_flight = 8
    assert not window.has_room


def failing_breaker(now: float) -> Breaker:
    breaker = Breaker()
    for _ in range(MOST_FAILURES):
        assert breaker.ready_at() <= now
        breaker.enter(now)
        breaker.fail(now, started=now)
    return breaker


def test_failures_in_a_row_open_the_breaker_and_a_success_between_does_not() -> None:
    assert failing_breaker(5.0).ready_at() == 5.0 + FIRST_PAUSE_S
    breaker = Breaker()
    for _ in range(3 * MOST_FAILURES):
        breaker.fail(5.0, started=5.0)
        breaker.succeed(5.0)
    assert breaker.ready_at() < 0


def test_timeouts_of_calls_from_before_the_last_success_do_not_open_it() -> None:
    breaker = Breaker()
    breaker.succeed(5.0)
    for _ in range(3 * MOST_FAILURES):
        breaker.fail(6.0, started=4.9)
    assert breaker.ready_at() < 0


def test_trials_become_rarer_until_one_succeeds() -> None:
    breaker, now, pauses = failing_breaker(0.0), 0.0, []
    for _ in range(6):
        pauses.append(breaker.ready_at() - now)
        now = breaker.ready_at()
        breaker.enter(now)
        breaker.fail(now + 0.1, started=now)
    assert pauses == [1, 1, 2, 4, 8, LONGEST_PAUSE_S]
    breaker.enter(now)
    breaker.succeed(now)
    assert breaker.ready_at() < 0


def test_a_trial_that_hangs_does_not_hold_up_the_next() -> None:
    breaker = failing_breaker(0.0)
    breaker.enter(1.0)
    assert breaker.ready_at() == 2.0
