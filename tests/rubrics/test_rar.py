"""Rows of the RaR form. All of them are invented."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rvpo.criterion import Criterion, CriterionClass
from rvpo.errors import DataError
from rvpo.rubrics.rar import rar_rows


def item(description: Any, weight: Any = 5, **more: Any) -> dict[str, Any]:
    return {"description": description, "title": "Title", "weight": weight, **more}


def raw(*rubric: Any, question: Any = "Why is the sky blue?", **more: Any) -> dict[str, Any]:
    return {
        "question": question,
        "reference_answer": "Scattering.",
        "question_source": "invented",
        "rubric": list(rubric),
        "rubric_list": [i["description"] for i in rubric if isinstance(i, dict)],
        "rubric_count": len(rubric),
        **more,
    }


def criteria(*rubric: Any, domain: Any = "science", doubtful: Any = "keep") -> list[Criterion]:
    rows, _ = rar_rows([raw(*rubric)], domain, doubtful)
    return [Criterion.from_row(c) for row in rows for c in row["rubric"]]


def test_row_keeps_what_the_rest_of_the_system_reads() -> None:
    rows, _ = rar_rows([raw(item("Essential Criteria: Names scattering."))], "science")
    (row,) = rows
    assert row.pop("id").startswith("science-")
    assert row == {
        "prompt": "Why is the sky blue?",
        "rubric": [Criterion(text="Names scattering.", label="essential", points=5.0).to_row()],
        "reference_answer": "Scattering.",
        "source": "invented",
    }
    json.dumps(rows)


@pytest.mark.parametrize(
    ("description", "weight", "label"),
    [
        ("Essential Criteria: Names scattering.", 5, "essential"),
        ("Important Criteria: Names scattering.", 4, "important"),
        ("Optional Criteria: Names scattering.", 2, "optional"),
        ("Pitfall Criteria: Names scattering.", -1, "pitfall"),
        ("Esssential Criteria: Names scattering.", 3, "essential"),
        ("Importance Criteria: Names scattering.", 1, "important"),
        ("Option Criteria: Names scattering.", 3, "optional"),
        ("Pitfalls Criteria: Names scattering.", -2, "pitfall"),
        ("Mandatory Criteria: Names scattering.", 3, "essential"),
        ("Universal Criteria: Names scattering.", 3, "important"),
        ("Universal Criteria: Names scattering.", -1, "pitfall"),
        ("ESSENTIAL CRITERIA: Names scattering.", 5, "essential"),
        ("essential criteria: Names scattering.", 5, "essential"),
        ("Essential Criterion: Names scattering.", 5, "essential"),
        ("Essential Criteria Names scattering.", 5, "essential"),
        ("Essential Criteria - Names scattering.", 5, "essential"),
        ("Essential Criteria\N{EN DASH} Names scattering.", 5, "essential"),
        ("Essential: Names scattering.", 5, "essential"),
        ("Optional - Names scattering.", 5, "optional"),
        ("**Essential Criteria**: Names scattering.", 5, "essential"),
        ("**Essential Criteria:** Names scattering.", 5, "essential"),
        ("  Essential  Criteria :  Names scattering. ", 5, "essential"),
        ("Essential Criteria (5): Names scattering.", 5, "essential"),
        ("Essential Criteria (weight 5): Names scattering.", 5, "essential"),
        ("Optional (+1 point): Names scattering.", 1, "optional"),
        ("1. Essential Criteria: Names scattering.", 5, "essential"),
        ("(2) **Important Criteria**: Names scattering.", 3, "important"),
        ("3) Pitfall: Names scattering.", -1, "pitfall"),
        ("Essential Criteria 1: Names scattering.", 5, "essential"),
        ("- Essential: Names scattering.", 5, "essential"),
        ("[Pitfall] Names scattering.", 2, "pitfall"),
        ("[Important Criteria, 3]: Names scattering.", 3, "important"),
        ("**[Optional]** Names scattering.", 1, "optional"),
        ("Critical Criteria: Names scattering.", 4, "essential"),
        ("Essentail Criteria: Names scattering.", 3, "essential"),
        ("Esential: Names scattering.", 3, "essential"),
        ("Importent Criteria: Names scattering.", 5, "important"),
        ("Optionall Criteria: Names scattering.", 5, "optional"),
        ("Names scattering.", 5, "essential"),
        ("Names scattering.", 7, "essential"),
        ("Names scattering.", 4, "important"),
        ("Names scattering.", 3, "important"),
        ("Names scattering.", 2, "optional"),
        ("Names scattering.", "1", "optional"),
        ("Names scattering.", 0.5, "optional"),
        ("Names scattering.", -1, "pitfall"),
    ],
)
def test_class_is_told_from_the_label_or_else_from_the_weight(
    description: str, weight: Any, label: CriterionClass
) -> None:
    (criterion,) = criteria(item(description, weight))
    assert (criterion.text, criterion.label) == ("Names scattering.", label)
    assert criterion.points == abs(float(weight))


@pytest.mark.parametrize(
    "text",
    [
        "Important criteria are listed.",
        "Emotional: names the patient's fear.",
        "Adoption: names the law.",
        "Notional: names the value.",
        "Options: names three.",
        "Essentials: names three.",
        "Essentially: names three.",
        "Importantly: names three.",
        "Optionally: names three.",
        "Import: names the tax.",
        "Unimportant: names the colour.",
        "Criteria: names three.",
        "1. Names the first.",
        "[Sic] is added.",
        "Important (in 3 of 5 cases) is rest.",
        "Essential oils are named.",
        "Diagnostic criteria: names three.",
        "Names three: red, green and blue.",
        "Optional courses such as Criteria 101 are left out.",
    ],
)
def test_sentence_that_only_looks_like_a_label_stays_whole(text: str) -> None:
    (criterion,) = criteria(item(text, 2))
    assert (criterion.text, criterion.label) == (text, "optional")


def test_what_the_label_did_not_tell_is_counted() -> None:
    _, report = rar_rows(
        [raw(item("Names one."), item("Universal Criteria: Names two."),
             item("Essential Criteria: Names three."))],
        "science",
    )  # fmt: skip
    assert report.mended == {"class told from the weight": 2}


@pytest.mark.parametrize("weight", [None, "heavy", True, float("nan"), float("inf"), [5], ""])
def test_weight_that_is_no_number_becomes_the_usual_one_of_the_class(weight: Any) -> None:
    rows, report = rar_rows([raw(item("Important Criteria: Names scattering.", weight))], "science")
    assert rows[0]["rubric"][0]["points"] == 3.0
    assert report.mended == {"weight not readable and taken as usual for the class": 1}


def test_weight_0_is_kept_where_the_label_tells_the_class() -> None:
    (criterion,) = criteria(item("Important Criteria: Names scattering.", 0))
    assert (criterion.label, criterion.points) == ("important", 0.0)


@pytest.mark.parametrize("weight", [0, None, "heavy"])
def test_criterion_without_label_and_weight_is_left_out(weight: Any) -> None:
    rows, report = rar_rows(
        [raw(item("Names one.", weight), item("Names two.", 5))],
        "science",
    )
    assert [c["text"] for c in rows[0]["rubric"]] == ["Names two."]
    assert report.dropped_criteria == {"without a class or a weight to tell it": 1}


def test_pitfall_described_as_a_failure_is_negative_in_either_domain() -> None:
    for domain in ("medicine", "science"):
        (criterion,) = criteria(
            item("Pitfall Criteria: Does not explain the dose.", -2), domain=domain
        )
        assert (criterion.polarity, criterion.points) == ("negative", 2.0)
        assert criterion.score(met=1.0) == 0.0


def test_pitfall_worded_as_avoidance_is_positive_in_either_domain() -> None:
    for domain in ("medicine", "science"):
        (criterion,) = criteria(
            item("Pitfall Criteria: The response should not imply a goal.", -1), domain=domain
        )
        assert criterion.polarity == "positive"
        assert criterion.score(met=1.0) == 1.0


@pytest.mark.parametrize(
    ("doubtful", "polarities", "became"),
    [
        ("drop", ["positive"], "left out"),
        ("keep", ["negative", "positive"], "kept as negative"),
        ("flip", ["positive", "positive"], "flipped to positive"),
    ],
)
def test_pitfall_that_nothing_tells_is_counted_and_never_guessed(
    doubtful: Any, polarities: list[str], became: str
) -> None:
    rubric = [
        item("Pitfall Criteria: Temperature and pressure.", -1),
        item("Pitfall Criteria: Avoids jargon.", -1),
    ]
    for domain in ("medicine", "science"):
        found = criteria(*rubric, domain=domain, doubtful=doubtful)
        assert [c.polarity for c in found] == polarities
    _, report = rar_rows([raw(*rubric)], "science", doubtful)
    assert report.told_by == {"nothing": 1, "wording": 1}
    assert str(report).endswith(
        f"Signs of 2 pitfalls told: 1 by the wording. Unclear: 1 (50.0%), {became}."
    )


def test_pitfall_that_nothing_tells_is_left_out_where_nothing_is_set() -> None:
    rows, _ = rar_rows([raw(item("Pitfall Criteria: Heat.", -1), item("Names it.", 5))], "science")
    assert [c["text"] for c in rows[0]["rubric"]] == ["Names it."]


@pytest.mark.parametrize(
    ("title", "polarity"), [("Avoids Rest", "positive"), ("Overlooks Rest", "negative")]
)
def test_title_of_a_row_tells_the_sign(title: str, polarity: str) -> None:
    pitfall = item("Pitfall Criteria: Does not mention rest.", -1) | {"title": title}
    rows, report = rar_rows([raw(pitfall)], "medicine")
    assert rows[0]["rubric"][0]["polarity"] == polarity
    assert report.told_by == {"title": 1}


@pytest.mark.parametrize(
    ("asked", "polarity"),
    [("Recommends aspirin.", "negative"), ("Aspirin must be avoided.", "positive")],
)
def test_other_criteria_tell_the_sign_where_the_sentence_does_not(
    asked: str, polarity: str
) -> None:
    rubric = [
        item("Pitfall Criteria: Does not recommend aspirin.", -1),
        item(f"Essential Criteria: {asked}", 5),
    ]
    rows, report = rar_rows([raw(*rubric)], "medicine")
    assert rows[0]["rubric"][0]["polarity"] == polarity
    assert report.told_by == {"rubric": 1}


@pytest.mark.parametrize("category", ["Pitfall", "pitfall criteria", "PITFALLS"])
def test_class_is_told_from_a_column_before_the_weight(category: str) -> None:
    (criterion,) = criteria(item("Ignores the units.", 2, category=category))
    assert (criterion.label, criterion.polarity) == ("pitfall", "negative")
    (criterion,) = criteria(item("Essential Criteria: Names it.", 2, category=category))
    assert criterion.label == "essential"


@pytest.mark.parametrize("polarity", ["positive", "negative"])
def test_explicit_polarity_overrides_the_wording(polarity: str) -> None:
    for text in ("Does not mention the dose.", "Should not imply a goal."):
        for start, weight in (("Pitfall Criteria", -1), ("Essential Criteria", 5)):
            (criterion,) = criteria(item(f"{start}: {text}", weight, polarity=polarity))
            assert criterion.polarity == polarity


def test_explicit_polarity_that_is_none_is_said() -> None:
    with pytest.raises(DataError, match="row 0, criterion 1: polarity is 'minus'; give positive"):
        criteria(item("Essential Criteria: A."), item("Pitfall Criteria: B.", -1, polarity="minus"))


def test_other_class_with_negative_weight_is_told_by_its_words() -> None:
    first, second = criteria(
        item("Important Criteria: Ignores the units.", -3),
        item("Important Criteria: Does not ignore the units.", -3),
    )
    assert (first.label, first.polarity, first.points) == ("important", "negative", 3.0)
    assert (second.label, second.polarity) == ("important", "positive")


def test_pitfall_with_positive_weight_is_told_by_its_words() -> None:
    (criterion,) = criteria(item("Pitfall Criteria: Ignores the units.", 2))
    assert (criterion.label, criterion.polarity) == ("pitfall", "negative")


def test_wanted_criterion_is_positive_however_it_is_worded() -> None:
    (criterion,) = criteria(item("Essential Criteria: Does not mention an operation.", 5))
    assert criterion.polarity == "positive"


@pytest.mark.parametrize("write", [json.dumps, repr, lambda value: value, tuple])
def test_rubric_may_be_a_list_or_written_as_text(write: Any) -> None:
    rubric = write([item("Essential Criteria: Names the patient's age."), item("Optional: B.", 1)])
    rows, _ = rar_rows([raw(rubric=rubric)], "medicine")
    assert [c["text"] for c in rows[0]["rubric"]] == ["Names the patient's age.", "B."]


@pytest.mark.parametrize(
    "rubric", [None, [], "", "not a list", "[{", "{}", 7, [None, "text", {}, item(None), item(" ")],
               [item("Essential Criteria: ")], "(" * 10_000, "[" * 100_000]
)  # fmt: skip
def test_row_without_usable_criteria_is_left_out(rubric: Any) -> None:
    rows, report = rar_rows([raw(rubric=rubric)], "medicine")
    assert rows == []
    assert report.dropped_rows == {"without usable criteria": 1}
    assert (report.statistics.prompts, report.statistics.mean) == (0, 0.0)


@pytest.mark.parametrize("question", [None, "", "  \n", 7])
def test_row_without_a_question_is_left_out(question: Any) -> None:
    rows, report = rar_rows([raw(item("Optional: A.", 1), question=question)], "medicine")
    assert rows == []
    assert report.dropped_rows == {"without a question": 1}


def test_question_that_was_asked_before_is_left_out() -> None:
    questions = ["Why is it blue?", "  why is\n it BLUE ", "Why is it blue", "Why is it red?"]
    rows, report = rar_rows(
        [raw(item("Optional: A.", 1), question=q) for q in questions], "science"
    )
    assert [row["prompt"] for row in rows] == ["Why is it blue?", "Why is it red?"]
    assert report.dropped_rows == {"asked before": 2}


def test_unusable_row_does_not_keep_out_a_later_copy_of_its_question() -> None:
    rows, _ = rar_rows([raw(), raw(item("Optional: A.", 1))], "science")
    assert len(rows) == 1


def test_criterion_that_its_rubric_already_has_is_left_out() -> None:
    rows, report = rar_rows(
        [raw(item("Essential Criteria: Names  Rayleigh."), item("Optional: names rayleigh", 1))],
        "science",
    )
    assert [c["label"] for c in rows[0]["rubric"]] == ["essential"]
    assert report.dropped_criteria == {"repeated": 1}
    assert report.mended == {}


def test_criterion_that_is_repeated_with_the_other_polarity_is_told_apart() -> None:
    rubric = [
        item("Essential Criteria: Names Mie."),
        item("Pitfall Criteria: Names Mie.", -1, polarity="negative"),
    ]
    rows, report = rar_rows([raw(*rubric)], "science")
    assert len(rows[0]["rubric"]) == 1
    assert report.dropped_criteria == {"repeated to the contrary": 1}


def test_criterion_and_its_negation_stay_and_are_counted() -> None:
    rubric = [
        item("Essential Criteria: Mentions dust."),
        item("Pitfall Criteria: Does not mention dust.", -1),
    ]
    rows, report = rar_rows([raw(*rubric)], "science")
    assert len(rows[0]["rubric"]) == 2
    assert report.statistics.mirrored == 1
    assert "Criteria that negate another of their rubric: 1." in str(report)


def test_report_of_nothing_says_why_and_no_statistics() -> None:
    _, report = rar_rows([raw(), raw(question=None)], "science")
    assert str(report) == (
        "2 rows read, 0 kept (left out: 1 without usable criteria, 1 without a question)."
    )


def test_ids_are_distinct_and_survive_another_order() -> None:
    raws = [raw(item("Optional: A.", 1), question=f"Question {n}?") for n in range(50)]
    forward, _ = rar_rows(raws, "science")
    backward, _ = rar_rows(raws[::-1], "science")
    assert len({row["id"] for row in forward}) == 50
    assert forward == backward[::-1]


def test_report_counts_ragged_rubrics() -> None:
    sizes = range(5, 18)
    rows, report = rar_rows(
        [
            raw(*(item(f"Important Criteria: Names {n}.", 3) for n in range(size - 1)),
                item("Pitfall Criteria: Ignores the first.", -1), question=f"Of {size}?")
            for size in sizes
        ]
        + [raw(question="Nothing?")],
        "medicine",
    )  # fmt: skip
    statistics = report.statistics
    assert [len(row["rubric"]) for row in rows] == list(sizes)
    assert (statistics.fewest, statistics.mean, statistics.most) == (5, 11.0, 17)
    assert statistics.criteria == 143
    assert statistics.class_shares == {"important": 130 / 143, "pitfall": 13 / 143}
    assert statistics.positive_shares == {"important": 1.0, "pitfall": 0.0}
    assert str(report) == (
        "14 rows read, 13 kept (left out: 1 without usable criteria). 13 prompts with 5 to 17 "
        "criteria, 11.0 on average. Classes: important 90.9% (100% positive), pitfall 9.1% (0% "
        "positive). Signs of 13 pitfalls told: 13 by the wording."
    )


def test_unknown_domain_is_said() -> None:
    with pytest.raises(DataError, match="domain: must be medicine or science, got 'law'"):
        rar_rows([], "law")  # type: ignore[arg-type]


anything = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(
        st.sampled_from(["description", "weight", "title", "x"]), inner, max_size=3),
    max_leaves=8,
)  # fmt: skip


@settings(deadline=None)
@given(rubric=anything, question=anything)
def test_no_dirt_in_the_data_stops_the_reading(rubric: Any, question: Any) -> None:
    rows, report = rar_rows([raw(rubric=rubric, question=question)], "science")
    assert len(rows) + sum(report.dropped_rows.values()) == report.read == 1
    assert report.statistics.prompts == len(rows)
