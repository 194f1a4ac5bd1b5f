"""Reports see every step, in order, and say of each sample what the matrices say of its row."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest

from rvpo.report.record import Reports, StepRecord, finite, sample_rows, summarise_timing
from tests.fakes import make_record, make_rollout, make_sample


class Recorder:
    """A report that writes what it was told into a shared list."""

    def __init__(self, name: str, told: list[str], *, fails_to_close: bool = False) -> None:
        self.name, self.told, self.fails_to_close = name, told, fails_to_close

    def __call__(self, record: StepRecord) -> None:
        self.told.append(f"{self.name} {record.step}")

    def close(self) -> None:
        self.told.append(f"{self.name} closed")
        if self.fails_to_close:
            raise RuntimeError(self.name)


def test_reports_are_told_in_the_order_given():
    told: list[str] = []
    reports = Reports(Recorder("a", told), Recorder("b", told))
    reports(make_record(1))
    reports.close()
    assert told == ["a 1", "b 1", "a closed", "b closed"]


def test_one_report_that_fails_to_close_does_not_keep_the_others_open():
    told: list[str] = []
    reports = Reports(Recorder("a", told, fails_to_close=True), Recorder("b", told))
    with pytest.raises(RuntimeError, match="a"):
        reports.close()
    assert told == ["a closed", "b closed"]


def test_a_metric_without_a_value_is_left_out():
    assert finite({"a": 1, "b": math.nan, "c": -math.inf}) == {"a": 1.0}


def test_a_row_holds_the_scores_of_its_sample():
    first = next(iter(sample_rows(make_record(3))))
    assert first == {
        "step": 3,
        "prompt_id": "sum/0",
        "prompt": [{"role": "user", "content": "What is 1 + 2?"}],
        "completion": "0.0",
        "thought": "",
        "answer": "0.0",
        "completion_tokens": 3,
        "finish_reason": "stop",
        "policy_version": 2,
        "versions": [],
        "scores": {"correct": 1.0, "brief": 0.25},
        "failures": {},
        "remarks": {},
        "extras": {},
        "z": {"correct": 0.5, "brief": -0.25},
        "advantage": 0.0,
        "trained": True,
    }


def test_a_row_says_which_weights_made_which_tokens():
    mixed = replace(make_sample(text="abcd", policy_version=2), versions=(2, 2, 4, 3))
    record = make_record(5)
    rollout = replace(record.rollout, samples=(mixed, *record.rollout.samples[1:]))
    row = next(iter(sample_rows(replace(record, rollout=rollout))))
    assert row["policy_version"] == 2
    assert row["versions"] == [
        {"version": 2, "start": 0, "end": 2},
        {"version": 4, "start": 2, "end": 3},
        {"version": 3, "start": 3, "end": 4},
    ]


def test_a_missing_score_is_null_and_a_lost_one_says_why():
    rows = list(sample_rows(make_record(1)))
    assert rows[1]["scores"] == {"correct": 0.0, "brief": None}
    assert rows[1]["z"]["brief"] is None
    assert rows[1]["failures"] == {}
    assert rows[3]["scores"] == {"correct": None, "brief": 0.5}
    assert rows[3]["failures"] == {"correct": "timed out"}


def test_a_later_rank_finds_its_own_rows():
    record = replace(make_record(1), rollout=make_rollout(prompts=1), first_row=2)
    rows = list(sample_rows(record))
    assert [row["advantage"] for row in rows] == [2.0, 3.0]
    assert rows[1]["failures"] == {"correct": "timed out"}


def test_timing_adds_up_over_steps():
    history = [
        {"step": 1, "timing/generate": 2.0, "timing/step": 5.0},
        {"step": 2, "timing/generate": 3.0, "timing/update": 1.0, "timing/step": 6.0},
    ]
    assert summarise_timing(history) == {"generate": 5.0, "update": 1.0, "step": 11.0}
