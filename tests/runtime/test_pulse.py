"""The judgement on ranks that say nothing, lag behind or have ended; without waiting for any."""

from __future__ import annotations

import json
import threading
from dataclasses import replace
from datetime import timedelta

import pytest
import torch.distributed as dist
from hypothesis import given, settings
from hypothesis import strategies as st

from rvpo.runtime.pulse import ALIVE_TIMES, Beat, Pulse, Vigil

PATIENCE_S = 1200.0
OWN = Beat("a", 1, 5, "updating, step 3", 1.0, False)


def sign(beat: int, **changes: object) -> Beat:
    return replace(Beat("b", beat, 5, "updating, step 3", 60.0 * beat, False), **changes)  # type: ignore[arg-type]


def test_a_rank_that_says_nothing_is_named_with_its_host_and_its_last_words() -> None:
    watch = Vigil(0, 3, PATIENCE_S)
    silent, alive = sign(1, host="c"), [sign(n) for n in range(9)]
    said = [watch.look(OWN, {1: alive[n], 2: silent}, 300) for n in range(6)]
    assert said[:5] == [None] * 5
    assert said[5] == (
        "rank 0 on a waited 20 minutes for rank 2 on c, which says nothing and was last "
        "updating, step 3"
    )


def test_a_rank_that_is_alive_and_late_gets_longer_and_is_said_to_be_alive() -> None:
    watch = Vigil(0, 2, PATIENCE_S)
    said = [
        watch.look(OWN, {1: sign(n, meetings=4, doing="loading the model")}, 60) for n in range(70)
    ]
    first = next(n for n, text in enumerate(said) if text)
    assert first == 60 * 20 * ALIVE_TIMES / 60 + 1
    assert said[first] == (
        "rank 0 on a waited 60 minutes for rank 1 on b, which is alive and has been loading the "
        f"model for {first} minutes"
    )


@given(
    behind=st.integers(0, 3),
    ticks=st.lists(st.tuples(st.booleans(), st.floats(0, 600)), max_size=40),
)
@settings(deadline=None, max_examples=50)
def test_nobody_is_given_up_before_its_time(behind: int, ticks: list[tuple[bool, float]]) -> None:
    watch = Vigil(0, 2, PATIENCE_S)
    silent = waited = 0.0
    beat = 1
    for number, (says, seconds) in enumerate(ticks):
        beat += says
        silent = 0.0 if says or number == 0 else silent + seconds
        waited = 0.0 if number == 0 else waited + seconds
        said = watch.look(OWN, {1: sign(beat, meetings=5 - behind)}, seconds)
        late = behind > 0 and waited > ALIVE_TIMES * PATIENCE_S
        assert (said is not None) == (silent > PATIENCE_S or late)


def test_a_rank_that_waits_for_nobody_may_work_as_long_as_it_likes() -> None:
    watch = Vigil(0, 2, PATIENCE_S)
    assert {watch.look(OWN, {1: sign(n)}, 3600) for n in range(50)} == {None}


def test_a_rank_that_ended_before_the_others_is_lost_and_one_that_is_done_is_not() -> None:
    watch = Vigil(0, 2, PATIENCE_S)
    early = sign(7, meetings=4, has_ended=True)
    assert watch.look(OWN, {1: early}, 20) is None  # this rank's own words come first
    assert watch.look(OWN, {1: early}, 20) == (
        "rank 0 on a lost rank 1 on b, which ended while updating, step 3"
    )
    watch = Vigil(0, 2, PATIENCE_S)
    done = sign(7, has_ended=True)
    assert {watch.look(OWN, {1: done}, 3600) for _ in range(9)} == {None}


def test_a_store_that_is_out_of_reach_is_rank_0s() -> None:
    watch = Vigil(2, 3, PATIENCE_S)
    assert watch.look(OWN, {0: sign(1, host="z"), 1: sign(1)}, 0) is None
    assert watch.look(OWN, None, PATIENCE_S) is None
    said = watch.look(OWN, None, 1)
    assert said is not None
    assert "for rank 0 on z, which says nothing" in said
    assert "rank 1" not in said


def test_a_rank_that_was_never_heard_of_is_named() -> None:
    watch = Vigil(0, 2, PATIENCE_S)
    said = watch.look(OWN, {}, PATIENCE_S + 1)
    assert said == "rank 0 on a waited 20 minutes for rank 1, which never said anything"


def test_a_pulse_says_what_its_rank_does_and_gives_up_a_silent_one_once() -> None:
    store = dist.HashStore()  # type: ignore[attr-defined]
    reasons: list[str] = []
    told = threading.Event()

    def give_up(reason: str) -> None:
        reasons.append(reason)
        told.set()

    pulse = Pulse(store, 0, 2, timedelta(seconds=0.1), give_up)
    pulse.doing("loading the model")
    pulse.meet()
    assert told.wait(60)
    pulse.stop()
    last = json.loads(store.get("rvpo/pulse/0"))
    assert (last["doing"], last["meetings"], last["has_ended"]) == ("loading the model", 1, True)
    assert len(reasons) == 1
    assert "for rank 1, which never said anything" in reasons[0]
    assert not [each.name for each in threading.enumerate() if each.name.startswith("pulse")]


class Unreachable:
    """A store on a machine that stopped answering."""

    def __init__(self) -> None:
        self.answers = threading.Event()

    def clone(self) -> Unreachable:
        return self

    def set_timeout(self, timeout: timedelta) -> None:
        pass

    def set(self, key: str, value: str) -> None:
        pass

    def check(self, keys: list[str]) -> bool:
        self.answers.wait()
        raise dist.DistNetworkError("gone")  # type: ignore[attr-defined]


def test_a_store_that_never_answers_keeps_nobody_from_giving_up_its_rank(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("rvpo.runtime.pulse._ANSWER_S", 0.1)
    store = Unreachable()
    reasons: list[str] = []
    told = threading.Event()

    def give_up(reason: str) -> None:
        reasons.append(reason)
        told.set()

    pulse = Pulse(store, 1, 3, timedelta(seconds=0.1), give_up)
    assert told.wait(60)
    store.answers.set()
    pulse.stop()
    assert "for rank 0, which never said anything" in reasons[0]
    assert "rank 2" not in reasons[0]


@pytest.mark.parametrize(("minutes", "seconds"), [(20, 20), (60, 20), (1, 1), (0.01, 0.5)])
def test_signs_are_as_seldom_as_the_patience_allows(minutes: float, seconds: float) -> None:
    pulse = Pulse(dist.HashStore(), 0, 1, timedelta(minutes=minutes))  # type: ignore[attr-defined]
    pulse.stop()
    assert pulse.interval_s == seconds
