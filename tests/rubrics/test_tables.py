"""Rows of the formats that are told by the names of their columns. All of them are invented."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rvpo.criterion import Criterion
from rvpo.data.messages import read_conversation
from rvpo.errors import DataError
from rvpo.rubrics.healthbench import HealthBenchSource
from rvpo.rubrics.item import SIZES, TEXTS
from rvpo.rubrics.own import CriteriaSource
from rvpo.rubrics.rar import RarSource
from rvpo.rubrics.table_of_lists import of_columns
from tests.rubrics.rows import ROWS, SOURCES, source, user

OWN = CriteriaSource(rubrics="x", format="criteria")
ONE = {"criterion": "Names rest.", "points": 8}
TWO = {"criterion": "Recommends running.", "points": -4}
READ = [
    Criterion(text="Names rest.", label="essential", points=8.0).to_row(),
    Criterion(
        text="Recommends running.", polarity="negative", label="pitfall", points=4.0
    ).to_row(),
]


def read(name: str, *rows: dict[str, Any], **more: Any) -> list[dict[str, Any]]:
    return source(name, **more).read(rows)[0]


@pytest.mark.parametrize(
    "row",
    [
        {"prompt": user("Why?"), "Rubrics": [ONE, TWO]},
        {"prompt": json.dumps(user("Why?")), "Rubrics": json.dumps([ONE, TWO])},
        {"prompt": repr(user("Why?")), "Rubrics": repr([ONE, TWO])},
        {"prompt": user("Why?"), "reward_model": {"style": "rubric", "rubrics": [ONE, TWO]}},
        {"prompt": user("Why?"), "reward_model": json.dumps({"rubrics": [ONE, TWO]})},
        {"prompt": user("Why?"), "Rubrics": [], "rubrics": [ONE, TWO]},
        {"prompt": user("Why?"), "Rubrics": {"criterion": ["Names rest.", "Recommends running."],
                                             "points": [8, -4]}},
    ],
)  # fmt: skip
def test_rubrichub_is_read_in_each_of_its_forms(row: dict[str, Any]) -> None:
    (found,) = read("rubrichub", row)
    assert (found["prompt"], found["rubric"]) == (user("Why?"), READ)


@pytest.mark.parametrize("column", ["question", "query"])
def test_exported_and_answered_rows_of_rubrichub_ask_as_text(column: str) -> None:
    rows = [{column: "Why?", "rubrics": [ONE, TWO], "answer": str(n)} for n in range(6)]
    (found,) = read("rubrichub", *rows)
    assert (found["prompt"], found["rubric"]) == ("Why?", READ)


def test_what_a_program_is_to_check_is_left_out_and_counted() -> None:
    rule = {"criterion": "punctuation:no_comma", "points": 10, "tags": {"verifier": "rule"}}
    rows, report = source("rubrichub").read([{"prompt": user("Why?"), "Rubrics": [rule, ONE]}])
    assert rows[0]["rubric"] == READ[:1]
    assert "Criteria left out: 1 to be checked by a program." in str(report)


def test_healthbench_professional_keeps_its_conversation_and_answer() -> None:
    turns = [*user("a"), {"role": "assistant", "content": "b"}, *user("c")]
    row = {
        "id": "hp-1",
        "conversation": {"messages": turns},
        "rubric_items": [{"criterion_text": "Names rest.", "points": 8}],
        "physician_response": "Rest.",
        "specialty": "none",
    }
    (found,) = read("healthbench_professional", row)
    assert found["id"] == "hp-1"
    assert (found["prompt"], found["rubric"]) == (turns, READ[:1])
    assert (found["reference_answer"], found["specialty"]) == ("Rest.", "none")


@pytest.mark.parametrize("write", [json.dumps, repr, lambda value: value])
def test_dr_tulu_hides_its_rubric_in_the_ground_truth(write: Any) -> None:
    rubrics = [{"title": "Rest", "description": "Names rest.", "weight": 1.0},
               {"title": "Padding", "description": "Repeats itself.", "weight": -1}]  # fmt: skip
    row = {"messages": user("Why?"), "ground_truth": write({"query": "W", "rubrics": rubrics})}
    (found,) = read("dr_tulu", row)
    assert [(c["text"], c["polarity"], c["label"]) for c in found["rubric"]] == [
        ("Names rest.", "positive", "important"),
        ("Repeats itself.", "negative", "pitfall"),
    ]


def test_research_rubrics_have_axes_and_weights_up_to_five() -> None:
    criteria = [
        {"criterion": f"Names {n}.", "weight": n, "axis": "Explicit Criteria"} for n in range(1, 6)
    ]
    (found,) = read("research_rubrics", {"prompt": "Q", "sample_id": "s", "rubrics": criteria})
    labels = [c["label"] for c in found["rubric"]]
    assert labels == ["optional", "important", "important", "essential", "essential"]
    assert {c["axis"] for c in found["rubric"]} == {"Explicit Criteria"}


def test_prbench_takes_the_weight_of_its_class_and_the_texts_of_each_turn() -> None:
    notes = {"weight_class": "slightly detrimental", "slightly_detrimental_weight": -2,
             "important_weight": 5, "criteria_category": "Legal Accuracy"}  # fmt: skip
    row = {
        "task": "t-1", "turns": 2, "prompt_0": "First?", "response_0": "Answer.",
        "prompt_1": "Second?", "reference_texts_1": ["A statute."], "prompt_2": None,
        "rubric": [{"id": "c", "title": "Is wordy.", "annotations": notes}],
    }  # fmt: skip
    (found,) = read("prbench", row)
    assert [turn["role"] for turn in found["prompt"]] == ["user", "assistant", "user"]
    assert found["prompt"][-1]["content"] == "Reference text 1:\nA statute.\n\nSecond?"
    (criterion,) = found["rubric"]
    assert criterion["axis"] == "Legal Accuracy"
    assert (criterion["polarity"], criterion["label"], criterion["points"]) == (
        "negative", "pitfall", 2.0,
    )  # fmt: skip


def test_numbered_text_gives_texts_sizes_and_classes() -> None:
    text = (
        "Requirements:\n1) Is it a haiku? (importance: 100/100)\n"
        "2) Is it about\n   snow? (importance: 50/100)\n\n3. Is it short?\n"
    )
    (found,) = read("wildchecklists", {"prompt": "Write.", "requirements": text})
    assert [(c["text"], c["points"], c["label"]) for c in found["rubric"]] == [
        ("Is it a haiku?", 100.0, "essential"),
        ("Is it about snow?", 50.0, "important"),
        ("Is it short?", 1.0, "important"),
    ]
    text = "1. Has five parts. [Hard Rule]\n2. Is clear (and kind). [Principle]"
    (found,) = read("openrubrics", {"instruction": "Write.", "rubric": text})
    assert [(c["text"], c["label"]) for c in found["rubric"]] == [
        ("Has five parts.", "essential"),
        ("Is clear (and kind).", "important"),
    ]


def test_nemo_gym_asks_by_request_and_by_the_answer_that_passes() -> None:
    rubric = [{"question": "Did it greet?", "pass_criteria": "YES"},
              {"question": "Did it insult?", "pass_criteria": "NO"},
              {"id": "C3", "criteria": "Does it end?"}]  # fmt: skip
    request = {"input": [{"type": "message", **user("Hi")[0]}], "tools": [{"name": "f"}]}
    (found,) = read("nemo_gym", {"responses_create_params": request, "rubric": rubric})
    assert (found["prompt"], found["tools"]) == (user("Hi"), [{"name": "f"}])
    assert [c["polarity"] for c in found["rubric"]] == ["positive", "negative", "positive"]


@pytest.mark.parametrize(
    "row",
    [
        {"rubric_json": json.dumps([{"criterion": "A.", "score": 2, "tags": ["true"]}])},
        {"metadata": {"rubric": [{"criteria": "A.", "modifiers": "{'severity': 2.0}"}]}},
        {"verifier_metadata": {"rubric": {"judge": [{"title": "A.", "weight": 2}], "trace": []}}},
        {"responses_create_params": {"input": [], "metadata": {
            "rubric_json": json.dumps({"criteria": [{"description": "A.", "weight": 2}]})}}},
        {"rubric": {"criteria": {"first": {"description": "A.", "weight": 2}}}},
    ],
)  # fmt: skip
def test_nemo_gym_hides_rubrics_in_many_places(row: dict[str, Any]) -> None:
    (found,) = read("nemo_gym", {"prompt": "Q", **row})
    assert [(c["text"], c["points"]) for c in found["rubric"]] == [("A.", 2.0)]


def test_columns_of_ones_own_may_lead_inside_a_column() -> None:
    own = CriteriaSource(
        rubrics="x", format="criteria", prompt_column="task.text", column="checks.list"
    )
    row = {"task": {"text": "Q"}, "checks": json.dumps({"list": ["A.", TWO]}), "answer": 7}
    (found,) = own.read([row])[0]
    assert (found["prompt"], found["answer"]) == ("Q", 7)
    assert [(c["text"], c["polarity"]) for c in found["rubric"]] == [
        ("A.", "positive"),
        ("Recommends running.", "negative"),
    ]


@pytest.mark.parametrize(
    ("doubtful", "kept"),
    [
        ("drop", []),
        ("keep", [("Should warn.", "negative"), ("Fails to warn.", "positive")]),
        ("flip", [("Should warn.", "positive"), ("Fails to warn.", "negative")]),
    ],
)
def test_size_against_wording_is_counted_and_treated_as_set(doubtful: Any, kept: Any) -> None:
    criteria = [{"criterion": "Should warn.", "points": -3}, {"criterion": "Fails to warn.",
                "points": 3}, ONE]  # fmt: skip
    row = {"prompt": user("Why?"), "Rubrics": criteria}
    rows, report = source("rubrichub", doubtful=doubtful).read([row])
    assert [(c["text"], c["polarity"]) for c in rows[0]["rubric"][:-1]] == kept
    assert (report.demands, report.failures) == (1, 1)
    assert "cost points and are worded as what is wanted: 1, " in str(report)
    assert "earn points and are worded as a failure: 1, " in str(report)


def test_what_is_called_a_pitfall_is_told_by_words_or_left_out() -> None:
    rubrics = [{"description": f"Pitfall Criteria: {text}", "weight": -1, "title": title}
               for text, title in (("Does not mention the spleen.", ""),
                                   ("Does not mention the spleen.", "Avoids Unrelated Organs"),
                                   ("Ignores the liver.", ""))]  # fmt: skip
    row = {"messages": user("Why?"), "ground_truth": {"rubrics": rubrics}}
    rows, report = source("dr_tulu").read([row])
    assert [c["polarity"] for c in rows[0]["rubric"]] == ["positive", "negative"]
    assert report.told_by == {"nothing": 1, "title": 1, "wording": 1}


@pytest.mark.parametrize("name", ["criteria", "dr_tulu", "nemo_gym", "openrubrics"])
@pytest.mark.parametrize("weight", ["-5,0", "minus 5", "high", "?", float("nan"), True, [5], {}])
def test_size_that_is_no_number_is_never_one_point(name: str, weight: Any) -> None:
    odd = {"criterion": "Mentions aspirin.", "weight": weight}
    row: dict[str, Any] = {"prompt": "Q", "instruction": "Q"}
    listed = [odd, {"criterion": "Names rest.", "weight": 2}]
    row |= {"rubric": listed, "rubrics": listed}
    reader = OWN if name == "criteria" else source(name)
    (found,), report = reader.read([row])
    assert [one["text"] for one in found["rubric"]] == ["Names rest."]
    assert report.dropped_criteria == {"with a size that is no number": 1}
    assert "1 with a size that is no number" in str(report)


@pytest.mark.parametrize("weight", ["high", "", None])
def test_word_for_an_importance_is_no_broken_size(weight: Any) -> None:
    row = {"prompt": "Q", "rubric": [{"criterion": "Names rest.", "importance": weight}]}
    (found,), report = OWN.read([row])
    assert len(found["rubric"]) == 1
    assert report.dropped_criteria == {}


def test_stated_polarity_that_is_none_is_named_with_its_row() -> None:
    row = {"prompt": "Q", "rubrics": [{**ONE, "polarity": "minus"}]}
    with pytest.raises(DataError, match="row 0, criterion 0: polarity is 'minus'; give positive"):
        source("rubrichub").read([row])


@pytest.mark.parametrize("name", [*SOURCES, "criteria", "rar", "healthbench"])
def test_columns_of_different_lengths_are_named_with_their_row(name: str) -> None:
    readers: dict[str, Any] = {
        "criteria": OWN,
        "rar": RarSource(rubrics="x", format="rar", domain="medicine"),
        "healthbench": HealthBenchSource(rubrics="x", format="healthbench"),
    }
    reader = readers.get(name) or source(name)
    where = (
        reader.criteria[0] if name in SOURCES else "rubrics" if name == "healthbench" else "rubric"
    )
    column, _, field = where.partition(".")
    criteria = {"criterion": ["A."] * 5, "weight": [1] * 4}
    row = user("Why?")
    prompts: dict[str, Any] = dict.fromkeys(("prompt", "messages", "conversation"), row)
    prompts |= dict.fromkeys(("question", "instruction", "prompt_0"), "Why?")
    with pytest.raises(DataError, match=f"row 0, {where}: .*criterion has 5, weight has 4"):
        reader.read([prompts | {column: {field: criteria} if field else criteria}])


@pytest.mark.parametrize("name", SOURCES)
def test_rows_without_prompt_or_criteria_are_left_out_and_counted(name: str) -> None:
    good = ROWS[name]("Why?", "YES" if name == "nemo_gym" else "5", "important", "Names rest.")
    rows, report = source(name).read([good, {}, {"prompt": "Q", "messages": user("Q")}, good])
    assert len(rows) == len({row["id"] for row in rows}) in (1, 2)
    assert sum(report.dropped_rows.values()) + len(rows) == 4


FIELDS = [*TEXTS, *SIZES, "prompt", "messages", "role", "tags", "label", "rubrics", "input"]
COLUMNS = ["id", *(c.partition(".")[0] for s in SOURCES.values() for c in (*s.criteria, "prompt"))]
anything = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=12),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(FIELDS), inner, max_size=4)
    ),
    max_leaves=10,
)


@settings(deadline=None, max_examples=40)
@given(
    name=st.sampled_from(sorted(SOURCES)),
    row=st.dictionaries(st.sampled_from([*COLUMNS, "prompt_0", "conversation"]), anything),
)
def test_no_dirt_in_a_row_stops_the_reading(name: str, row: dict[str, Any]) -> None:
    try:
        rows, report = source(name).read([row])
    except DataError as error:  # lists that may be columns, of which some would be lost
        if "differ in length" not in str(error):
            raise
        return
    assert len(rows) + sum(report.dropped_rows.values()) == report.read == 1
    json.dumps(rows)


@pytest.mark.parametrize("text", ["[1, 2, 3]", '{"a": 1}', "[]", "Sort [3, 1]."])
def test_prompt_that_only_looks_like_a_list_is_text(text: str) -> None:
    (found,) = read("wildchecklists", {"prompt": text, "requirements": "1) Is it sorted?"})
    assert found["prompt"] == text


@pytest.mark.parametrize(
    "prompt",
    [
        {"instructions": "Be kind.", "input": [{"role": "user", "content": "Why?"}]},
        {
            "input": [
                {"role": "user", "content": "Why?"},
                {"type": "function_call", "name": "f", "arguments": "{}", "call_id": "1"},
                {"type": "function_call_output", "call_id": "1", "output": "3"},
            ]
        },
        [{"from": "human", "value": "Why?"}],
    ],
    ids=["instructions", "calls", "sharegpt"],
)
def test_a_conversation_in_another_form_is_read_as_that_of_any_row(prompt: Any) -> None:
    (found,) = read("nemo_gym", {"responses_create_params": prompt, "rubric": ["Names rest."]})
    assert read_conversation(found["prompt"], "here") == read_conversation(prompt, "here")


@pytest.mark.parametrize("name", ["sign", "polarity"])
def test_signs_beside_criteria_that_are_tables_are_theirs(name: str) -> None:
    signs = ["positive", "negative"]
    rows = of_columns({"criteria": [{"text": "a"}, {"text": "b"}], name: signs})
    assert rows is not None
    assert [row[name] for row in rows] == signs


def test_two_lists_of_criteria_are_refused() -> None:
    with pytest.raises(ValueError, match="two lists, 'criteria' and 'checklist'"):
        of_columns({"criteria": ["a", "b"], "checklist": ["c", "d"]})
