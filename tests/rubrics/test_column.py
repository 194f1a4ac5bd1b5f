"""Criteria as a column of the data holds them, under the names that people use."""

from __future__ import annotations

import json
from typing import Any

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from rvpo.criterion import Criterion
from rvpo.errors import DataError
from rvpo.rewards.rubric import RubricReward
from rvpo.rewards.suite import RewardSuite
from rvpo.rubrics.column import read_column
from rvpo.rubrics.item import SIZES, TEXTS
from rvpo.types import Prompt

BOTH = (
    Criterion(text="Names rest.", points=8.0),
    Criterion(text="Recommends running.", polarity="negative", label="pitfall", points=4.0),
)


def criteria(value: Any, doubtful: Any = "drop") -> tuple[Criterion, ...]:
    column = read_column(value, doubtful)
    assert column is not None
    return column.criteria


def prompt(**columns: Any) -> Prompt:
    return Prompt(id="p", messages=({"role": "user", "content": "Q"},), columns=columns)


@pytest.mark.parametrize("text", TEXTS)
@pytest.mark.parametrize("size", SIZES)
def test_text_and_size_go_by_many_names(text: str, size: str) -> None:
    rows = [{text: "Names rest.", size: 8}, {text: "Recommends running.", size: -4}]
    assert criteria(rows) == BOTH


@pytest.mark.parametrize("size", [8, 8.0, "8", "+8", " 8 ", "8 points", "8 pts", "8/10"])
def test_size_may_be_written_as_text(size: Any) -> None:
    assert criteria([{"criterion": "Names rest.", "points": size}]) == BOTH[:1]


ROWS = [
    {"criterion": "Names rest.", "points": 8},
    {"criterion": "Recommends running.", "points": -4},
]


@pytest.mark.parametrize(
    "value",
    [
        ROWS,
        tuple(ROWS),
        json.dumps(ROWS),
        repr(ROWS),
        [json.dumps(row) for row in ROWS],
        yaml.safe_dump(ROWS),
        yaml.safe_dump(ROWS, sort_keys=False),
        "- [ ] Names rest. (+8)\n- [x] Recommends running. (-4)",
        {"items": ROWS},
        {"criteria": json.dumps(ROWS)},
        json.dumps({"rubrics": ROWS}),
        {"rubric": {"items": ROWS}},
        {"criterion": [row["criterion"] for row in ROWS], "points": [8, -4]},
        {"criterion": ["Names rest.", "Recommends running."], "points": "[8, -4]"},
        {"criteria": ["Names rest.", "Recommends running."], "weights": [8, -4]},
        {"items": [row["criterion"] for row in ROWS], "scores": ["8", "-4"], "trace": [1]},
        {"rubric": [{"criterion": row["criterion"]} for row in ROWS], "weights": [8, -4]},
        {"positive": [ROWS[0]], "negative": [{**ROWS[1], "points": 4}]},
        {
            "negative": [],
            "positive": ["Names rest. (+8)"],
            "negatives": ["Recommends running. (4 points)"],
        },
        {
            "Positive criteria": "1. Names rest. (8 points)",
            "Negative criteria": {"Recommends running.": 4},
        },
        {"criteria": ROWS[:1], "negative": [{"text": "Recommends running.", "points": 4}]},
        {"first": ROWS[0], "second": ROWS[1]},
        {"Names rest.": 8, "Recommends running.": -4},
        "1. Names rest. (8 points)\n2. Recommends running. (weight: -4)",
        "- [+8] Names rest.\n- [-4] Recommends running.",
        "Points: 8, Item: Names rest.\nPoints: -4, Item: Recommends running.",
        ["[8 pts] Names rest.", "(-4) Recommends running."],
        [{"text": "Names rest.", "weight": "8"}, {"text": "Recommends running.", "points": -4}],
        [{"annotations": row} for row in ROWS],
    ],
    ids=str,
)
def test_list_is_read_in_each_of_its_forms(value: Any) -> None:
    assert criteria(value) == BOTH


@settings(deadline=None)
@given(
    text=st.sampled_from([*TEXTS, "rubrics", "items", "checklist", "statements"]),
    other=st.sampled_from([*SIZES, "weights", "scores", "polarity", "categories"]),
    sizes=st.tuples(st.integers(1, 5), st.integers(1, 5)),
)
def test_columns_lose_no_criterion_in_silence(
    text: str, other: str, sizes: tuple[int, int]
) -> None:
    texts = [f"Names {number} things." for number in range(sizes[0])]
    table = {text: texts, other: (["positive"] if other == "polarity" else [3]) * sizes[1]}
    if sizes[0] == sizes[1]:
        assert [one.text for one in criteria(table)] == texts
    else:
        said = f"{text} has {sizes[0]}, {other} has {sizes[1]}|{other} has {sizes[1]}, {text} has"
        with pytest.raises(ValueError, match=said):
            criteria(table)


@pytest.mark.parametrize("text", [*TEXTS, "checklist"])
def test_what_is_no_list_holds_for_every_criterion(text: str) -> None:
    found = criteria({text: ["Warns.", "Shouts."], "polarity": "negative", "n": None})
    assert [(one.text, one.polarity) for one in found] == [
        ("Warns.", "negative"),
        ("Shouts.", "negative"),
    ]


def test_a_number_beside_a_list_of_criteria_is_that_of_the_rubric() -> None:
    found = criteria({"criteria": ["Warns.", "Shouts."], "score": 0, "title": "Avoids noise"})
    assert [(one.text, one.points) for one in found] == [("Warns.", 1.0), ("Shouts.", 1.0)]
    assert [c.points for c in criteria({"criterion": ["Warns.", "Shouts."], "weight": 2})] == [2, 2]


def test_lists_by_class_give_each_criterion_its_class() -> None:
    table = {
        "essential": ["Warns."],
        "nice to have": [{"text": "Is kind.", "points": 1}],
        "pitfalls": [{"criterion": "Shouts.", "category": "Tone"}],
    }
    assert [(one.text, one.label) for one in criteria(table, "keep")] == [
        ("Warns.", "essential"),
        ("Is kind.", "optional"),
        ("Shouts.", "pitfall"),
    ]


def test_a_criterion_with_examples_is_one() -> None:
    (found,) = criteria({"criterion": "Warns.", "points": 2, "positive": ["Stop!"], "items": []})
    assert (found.text, found.points) == ("Warns.", 2.0)


@pytest.mark.parametrize(
    "row",
    [
        {"polarity": "negative"},
        {"polarity": " Negative "},
        {"is_positive": False},
        {"negative": True},
        {"sign": "-"},
        {"type": "negative"},
        {"pass_criteria": "NO"},
        {"expected": "no"},
    ],
)
def test_stated_polarity_counts_before_the_size(row: dict[str, Any]) -> None:
    (found,) = criteria([{"criterion": "Fails to warn.", "points": 3, **row}])
    assert (found.polarity, found.points) == ("negative", 3.0)


@pytest.mark.parametrize(
    ("row", "label"),
    [
        ({"label": "essential"}, "essential"),
        ({"category": "Important Criteria"}, "important"),
        ({"class": "nice to have"}, "optional"),
        ({"importance": "must have"}, "essential"),
        ({"weight_class": "slightly important", "slightly_important_weight": 2}, "optional"),
        ({"priority": "HIGH"}, "essential"),
        ({"level": "should_have"}, "important"),
        ({"category": "Accuracy"}, "important"),
        ({"criterion": "Optional: names rest."}, "optional"),
        ({"criterion": "[Essential] Names rest."}, "essential"),
        ({"criterion": "Names rest. [Hard Rule]"}, "essential"),
    ],
)
def test_class_is_told_by_a_column_or_at_either_end_of_the_text(
    row: dict[str, Any], label: str
) -> None:
    (found,) = criteria([{"criterion": "Names rest.", **row}])
    assert found.label == label
    assert found.text.lower() == "names rest."


@pytest.mark.parametrize(
    "row",
    [{"axis": "accuracy"}, {"tags": ["level:example", "axis:accuracy"]}, {"dimension": "accuracy"},
     {"category": "accuracy"}, {"tags": json.dumps(["axis:accuracy"])}],
)  # fmt: skip
def test_axis_goes_by_many_names(row: dict[str, Any]) -> None:
    (found,) = criteria([{"criterion": "Names rest.", **row}])
    assert found.axis == "accuracy"


@pytest.mark.parametrize(
    "text",
    [
        "Reports a potassium of 6.1 (high).",
        "Says that mortality fell (20%).",
        "Names step (3) of the plan.",
        "Cites the review [Smith].",
        "(1) is not taken as the answer.",
        "Explains why 2. follows from 1.",
    ],
)
def test_sentence_that_only_looks_marked_stays_whole(text: str) -> None:
    assert criteria([text]) == (Criterion(text=text),)


def test_number_or_bullet_goes_where_all_texts_have_one() -> None:
    assert criteria(["1. Names rest.", "2. Is kind."]) == (
        Criterion(text="Names rest."),
        Criterion(text="Is kind."),
    )
    assert criteria(["2. Is kind.", "3 is named."])[0].text == "2. Is kind."


@pytest.mark.parametrize("minus", ["-", "\u2212", "\u2013"])
@pytest.mark.parametrize("form", ["{}4", " {}4 points", "{}4/10", "{}4 of 10", "{}4.0"])
def test_minus_goes_by_many_characters(minus: str, form: str) -> None:
    row = {"criterion": "Recommends running.", "weight": form.format(minus)}
    assert criteria([row]) == BOTH[1:]


@pytest.mark.parametrize("name", ["criterion", "requirement"])
def test_criterion_of_no_points_is_left_out_and_counted(name: str) -> None:
    column = read_column([{name: "Names rest.", "points": 0}], "drop")
    assert column is not None
    assert column.criteria == ()
    assert column.counts.dropped_criteria == {"of 0 points": 1}


@pytest.mark.parametrize("value", [None, "", [], "[]"])
def test_nothing_holds_no_criteria(value: Any) -> None:
    assert criteria(value) == ()


@pytest.mark.parametrize("value", ["Names rest.", 7, True, {}, "{", "two\nlines"])
def test_what_is_no_list_is_told(value: Any) -> None:
    assert read_column(value, "drop") is None


@pytest.mark.parametrize(
    ("entry", "words"),
    [
        ({"txt": "a"}, "a criterion needs a text, {'txt': 'a'} has none"),
        ({"criterion": " ", "points": 3}, "a criterion needs a text"),
        ({"criterion": "a", "points": "many"}, "points must be a finite number, got 'many'"),
        ({"criterion": "a", "weight": float("nan")}, "weight must be a finite number, got nan"),
        ({"text": "a", "points": True}, "points must be a finite number, got True"),
        ({"criterion": "a", "polarity": "bad"}, "polarity is 'bad'; give positive"),
        ({"criterion": "a", "scale": 3}, "a scale is a table"),
        (7, "7 is no text and no table with one"),
    ],
)
def test_entry_that_is_no_criterion_is_one_sentence(entry: Any, words: str) -> None:
    reward = RubricReward(name="r", form="channels")
    with pytest.raises(DataError) as error:
        reward.criteria(prompt(rubric=[entry]))
    assert "prompt 'p': column 'rubric' holds no criteria (" in str(error.value)
    assert words in str(error.value)


@pytest.mark.parametrize("write", [json.dumps, repr, lambda value: value])
@pytest.mark.parametrize("column", ["reward_model.rubrics", "rubrics", "a.b.c"])
def test_column_may_lead_inside_a_column(column: str, write: Any) -> None:
    *path, last = column.split(".")
    value: Any = {last: ROWS}
    for name in reversed(path):
        value = {name: write(value)}
    reward = RubricReward(name="r", form="channels", column=column)
    assert reward.criteria(prompt(**value)) == BOTH
    assert reward.fitted([prompt(**value)]).slots == 2


def test_column_whose_name_has_a_dot_is_itself() -> None:
    reward = RubricReward(name="r", form="channels", column="a.b")
    assert reward.criteria(prompt(**{"a.b": ROWS, "a": {"b": []}})) == BOTH


@pytest.mark.parametrize(
    ("doubtful", "polarities"),
    [("drop", []), ("keep", ["negative", "positive"]), ("flip", ["positive", "negative"])],
)
def test_what_is_unclear_is_counted_and_said(doubtful: Any, polarities: list[str]) -> None:
    rows = [{"criterion": "Should warn.", "points": -3}, "Fails to warn.", ROWS[0]]
    reward = RubricReward(name="r", form="channels", doubtful=doubtful)
    found = reward.criteria(prompt(rubric=rows))
    assert [criterion.polarity for criterion in found] == [*polarities, "positive"]
    said: list[str] = []
    RewardSuite([reward]).check_criteria([prompt(rubric=rows)] * 2, "data.train", said.append)
    (text,) = said
    assert text.startswith("data.train: rewards.r: Criteria that cost points and are worded as")
    assert "what is wanted: 2, " in text
    assert "a failure: 2, " in text


def test_clear_criteria_are_not_spoken_of() -> None:
    said: list[str] = []
    reward = RubricReward(name="r", form="channels")
    rows = [{"text": "Fails to warn.", "polarity": "negative"}, {"text": "Is kind."}]
    RewardSuite([reward]).check_criteria([prompt(rubric=rows)], "data.train", said.append)
    assert said == []


@settings(deadline=None, max_examples=25)
@given(
    st.lists(
        st.builds(
            Criterion,
            text=st.text("ab c.", min_size=1).filter(str.strip),
            polarity=st.sampled_from(["positive", "negative"]),
            label=st.sampled_from(["essential", "pitfall"]),
            points=st.floats(0, 9, exclude_min=True),
            axis=st.text(max_size=5),
            scale=st.sampled_from([(), ((0.0, ""), (1.0, "")), ((0.0, "no"), (2.0, "yes"))]),
        ),
        max_size=4,
    )
)
def test_what_was_written_is_read_back(found: list[Criterion]) -> None:
    rows = [criterion.to_row() for criterion in found]
    assert criteria(rows) == criteria(json.dumps(rows)) == tuple(found)


def test_a_list_in_yaml_that_cannot_be_read_is_said_and_never_read_as_lines() -> None:
    with pytest.raises(ValueError, match="seems to be a list in YAML"):
        read_column("- criterion: Says: rest.\n  points: -8\n", "drop")


@pytest.mark.parametrize("name", ["Question", "Note"])
def test_bullets_that_begin_with_a_word_and_a_colon_are_lines(name: str) -> None:
    found = criteria(f"- {name}: Names rest.\n- {name}: Is kind.\n")
    assert len(found) == 2
