"""Rows of the HealthBench form. All of them are invented."""

from __future__ import annotations

import json
from typing import Any

import pytest

from rvpo.criterion import Criterion, CriterionClass
from rvpo.rubrics.healthbench import healthbench_rows

CONVERSATION = [
    {"role": "user", "content": "My knee hurts."},
    {"role": "assistant", "content": "Since when?"},
    {"role": "user", "content": "Since Monday; it's swollen."},
]


def item(criterion: Any, points: Any, *tags: str) -> dict[str, Any]:
    return {"criterion": criterion, "points": points, "tags": list(tags)}


RUBRICS = [
    item("Asks about an injury.", 8, "level:example", "axis:context_awareness"),
    item("Recommends running on it.", -9, "level:example", "axis:accuracy"),
    item("Stays short.", 2, "axis:communication_quality"),
    item("Names rest.", 5),
]


def raw(**more: Any) -> dict[str, Any]:
    return {
        "prompt": CONVERSATION,
        "prompt_id": "invented-1",
        "rubrics": RUBRICS,
        "example_tags": ["theme:hedging"],
        "ideal_completions_data": {"ideal_completion": "Rest it.", "group": "invented"},
        "canary": "invented-canary",
        **more,
    }


def test_sign_of_the_points_is_the_polarity() -> None:
    rows, _ = healthbench_rows([raw()])
    (row,) = rows
    assert row == {
        "id": "invented-1",
        "prompt": CONVERSATION,
        "rubric": [
            Criterion(text="Asks about an injury.", label="essential", points=8.0,
                      axis="context_awareness").to_row(),
            Criterion(text="Recommends running on it.", polarity="negative", label="pitfall",
                      points=9.0, axis="accuracy").to_row(),
            Criterion(text="Stays short.", label="optional", points=2.0,
                      axis="communication_quality").to_row(),
            Criterion(text="Names rest.", label="important", points=5.0).to_row(),
        ],
        "ideal_completion": "Rest it.",
        "example_tags": ["theme:hedging"],
        "canary": "invented-canary",
    }  # fmt: skip


@pytest.mark.parametrize("points", [-1, -2, -0.5, -3, -10])
def test_any_points_below_0_are_negative_however_few(points: float) -> None:
    rows, _ = healthbench_rows([raw(rubrics=[item("Recommends running on it.", points)])])
    (criterion,) = rows[0]["rubric"]
    assert (criterion["polarity"], criterion["label"]) == ("negative", "pitfall")
    assert criterion["points"] == -points


@pytest.mark.parametrize("points", [0.5, 1, 2])
def test_any_points_above_0_are_positive_however_few(points: float) -> None:
    rows, _ = healthbench_rows([raw(rubrics=[item("Names rest.", points)])])
    assert rows[0]["rubric"][0]["polarity"] == "positive"


@pytest.mark.parametrize("write", [json.dumps, repr])
def test_lists_may_be_written_as_text(write: Any) -> None:
    written = raw(
        prompt=write(CONVERSATION),
        rubrics=write([{**i, "tags": write(i["tags"])} for i in RUBRICS]),
        example_tags=write(["theme:hedging"]),
    )
    assert healthbench_rows([written]) == healthbench_rows([raw()])


@pytest.mark.parametrize(
    ("points", "label"),
    [(10, "essential"), (7, "essential"), (6, "important"), (4, "important"), (3, "optional"),
     (1, "optional"), (0.5, "optional"), (-1, "pitfall"), (-10, "pitfall")],
)  # fmt: skip
def test_class_is_told_from_the_size_of_the_points(points: float, label: CriterionClass) -> None:
    rows, _ = healthbench_rows([raw(rubrics=[item("Names rest.", points)])])
    assert rows[0]["rubric"][0]["label"] == label


def test_criteria_without_text_or_points_are_left_out_and_counted() -> None:
    dirt = [item("", 3), item(None, 3), item("A.", 0), item("B.", None), item("C.", "3"),
            item("D.", True), item("E.", float("nan")), "text", None]  # fmt: skip
    rows, report = healthbench_rows([raw(rubrics=[*dirt, item("Names rest.", 5)])])
    assert [c["text"] for c in rows[0]["rubric"]] == ["C.", "Names rest."]
    assert report.dropped_criteria == {"without a text": 3, "without points": 5}


def test_equal_criteria_and_equal_conversations_stay_for_the_published_score() -> None:
    twice = [item("Names rest.", 5), item("Names rest.", 5)]
    rows, _ = healthbench_rows([raw(rubrics=twice), raw(rubrics=twice, prompt_id="invented-2")])
    assert [len(row["rubric"]) for row in rows] == [2, 2]


@pytest.mark.parametrize(
    ("more", "reason"),
    [
        ({"prompt": None}, "without a conversation"),
        ({"prompt": []}, "without a conversation"),
        ({"prompt": "a question"}, "without a conversation"),
        ({"prompt": [*CONVERSATION, {"role": "user"}]}, "without a conversation"),
        ({"prompt": [*CONVERSATION, "text"]}, "without a conversation"),
        ({"prompt": [{"role": "user", "content": 7}]}, "without a conversation"),
        ({"rubrics": None}, "without usable criteria"),
        ({"rubrics": "[{"}, "without usable criteria"),
    ],
)
def test_unusable_row_is_left_out_and_counted(more: dict[str, Any], reason: str) -> None:
    rows, report = healthbench_rows([raw(**more), raw()])
    assert len(rows) == 1
    assert report.dropped_rows == {reason: 1}


def test_second_row_of_an_id_is_left_out_and_a_missing_id_is_made() -> None:
    rows, report = healthbench_rows([raw(), raw(), raw(prompt_id=None)])
    assert [row["id"] for row in rows] == ["invented-1", "healthbench-2"]
    assert report.dropped_rows == {"of an id met before": 1}


@pytest.mark.parametrize("data", [None, {}, {"ideal_completion": None}, "Rest it."])
def test_row_without_an_ideal_completion_has_an_empty_one(data: Any) -> None:
    rows, _ = healthbench_rows([raw(ideal_completions_data=data)])
    assert rows[0]["ideal_completion"] == ""


def test_report_tells_axes() -> None:
    _, report = healthbench_rows([raw()])
    assert report.statistics.axis_shares == {
        "context_awareness": 0.25,
        "accuracy": 0.25,
        "communication_quality": 0.25,
    }
    assert str(report) == (
        "1 row read, 1 kept. 1 prompt with 4 to 4 criteria, 4.0 on average. Classes: essential "
        "25.0% (100% positive), important 25.0% (100% positive), optional 25.0% (100% positive), "
        "pitfall 25.0% (0% positive). Axes: context_awareness 25.0%, accuracy 25.0%, "
        "communication_quality 25.0%. Signs of 1 pitfall told: 1 by the wording."
    )


@pytest.mark.parametrize(
    ("doubtful", "kept"),
    [
        ("drop", [("Ignores rest.", "negative")]),
        ("keep", [("Should mention rest.", "negative"), ("Ignores rest.", "negative")]),
        ("flip", [("Should mention rest.", "positive"), ("Ignores rest.", "negative")]),
    ],
)
def test_demand_that_costs_points_is_counted_and_treated_as_set(doubtful: Any, kept: Any) -> None:
    rubric = [item("Should mention rest.", -6), item("Ignores rest.", -6)]
    rows, report = healthbench_rows([raw(rubrics=rubric)], doubtful)
    assert [(c["text"], c["polarity"]) for c in rows[0]["rubric"]] == kept
    assert report.demands == 1
    assert "Criteria that cost points and are worded as what is wanted: 1, " in str(report)
