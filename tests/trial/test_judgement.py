"""Repeats are compared, polarity comes after them, and a lost verdict is never a 0."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rvpo.criterion import Criterion
from rvpo.judge.types import Answer, Question
from rvpo.rewards.judged import every_question
from rvpo.rewards.rubric import RubricReward
from rvpo.trial.judgement import Judgement, agreement
from rvpo.trial.response import Kind, Response
from rvpo.trial.summary import TrialSummary
from tests.fakes import make_criteria, make_prompt

LOST = None
CHANNELS = RubricReward(name="rubric", form="channels")
POLITE = RubricReward(
    name="judged",
    form="channels",
    fixed={"kind": Criterion(text="kind"), "rude": Criterion(text="rude", polarity="negative")},
)


def answer(value: float | None) -> Answer:
    return Answer(value=value, failure="timeout" if value is None else None)


def judgement(
    reward: RubricReward,
    *repeats: Mapping[str, float | None],
    kind: Kind = "given",
    id: str = "p",
    **columns: Any,
) -> Judgement:
    """Each repeat gives the verdicts by the text of the criterion."""
    response = Response(prompt=make_prompt(id, **columns), text="x", kind=kind)
    asked = every_question([reward], response.prompt)
    found = [{q: answer(values[q.text]) for q in asked} for values in repeats]
    return Judgement.of(response, [reward], found)


def test_polarity_is_applied_and_repeats_are_averaged() -> None:
    found = judgement(POLITE, {"kind": 1, "rude": 0}, {"kind": 0, "rude": 0})
    assert [(v.part, v.score) for v in found.verdicts] == [("kind", 0.5), ("rude", 1.0)]
    assert found.scores == {"judged": pytest.approx(0.75)}


def test_a_lost_verdict_leaves_its_repeat_without_a_score() -> None:
    found = judgement(POLITE, {"kind": LOST, "rude": 0}, {"kind": 1, "rude": 0})
    assert [v.failed for v in found.verdicts] == [1, 0]
    assert found.verdicts[0].score == 1
    assert found.scores == {"judged": 1}
    lost = judgement(POLITE, {"kind": LOST, "rude": 0})
    assert lost.verdicts[0].score is None
    assert lost.scores == {"judged": None}


def test_criteria_of_the_data_count_towards_their_class() -> None:
    rubric = [*make_criteria("a", label="essential"), *make_criteria("!b", label="pitfall")]
    found = judgement(CHANNELS, {"a": 1, "b": 1}, rubric=rubric)
    assert [(v.part, v.name, v.score) for v in found.verdicts] == [
        ("essential", None, 1),
        ("pitfall", None, 0),
    ]


def test_a_rating_has_no_parts() -> None:
    implicit = RubricReward(name="r", form="implicit", fixed=POLITE.fixed)
    response = Response(prompt=make_prompt(), text="x")
    (question,) = implicit.questions(response.prompt)
    (verdict,) = Judgement.of(response, [implicit], [{question: answer(2 / 3)}]).verdicts
    assert (verdict.part, verdict.criterion) == (None, None)
    assert verdict.score == pytest.approx(2 / 3)


def test_rewards_that_ask_the_same_share_the_answer() -> None:
    both = [POLITE, RubricReward(name="mean", form="explicit", fixed=POLITE.fixed)]
    response = Response(prompt=make_prompt(), text="x")
    asked = every_question(both, response.prompt)
    found = Judgement.of(response, both, [dict.fromkeys(asked, answer(1.0))])
    assert len(asked) == len(found.answers) == 2
    assert len(found.verdicts) == 4
    assert found.scores == {"judged": 0.5, "mean": 0.5}
    assert TrialSummary.of([found], both).tally.verdicts == 2


def test_a_prompt_without_criteria_has_no_score() -> None:
    found = judgement(CHANNELS, {}, rubric=[])
    assert (found.scores, found.verdicts) == ({}, ())


@given(st.lists(st.sampled_from([0.0, 1.0, None]), max_size=6))
def test_agreement_is_the_share_of_equal_pairs(values: list[float | None]) -> None:
    met, unmet = values.count(1.0), values.count(0.0)
    pairs = (met + unmet) * (met + unmet - 1) / 2
    equal = (met * (met - 1) + unmet * (unmet - 1)) / 2
    expected = None if not pairs else pytest.approx(equal / pairs)
    assert agreement([[answer(value) for value in values]]) == expected


def test_a_rubric_that_tells_responses_apart_shows_it() -> None:
    summary = TrialSummary.of(
        [
            judgement(POLITE, {"kind": 1, "rude": 0}, kind="reference", id="p"),
            judgement(POLITE, {"kind": 0, "rude": 0}, kind="empty", id="p"),
            judgement(POLITE, {"kind": 1, "rude": 0}, kind="reference", id="q"),
            judgement(POLITE, {"kind": 1, "rude": 0}, kind="empty", id="q"),
            judgement(POLITE, {"kind": 1, "rude": LOST}, kind="reference", id="lost"),
            judgement(POLITE, {"kind": 0, "rude": 0}, kind="empty", id="lost"),
        ],
        [POLITE],
    )
    (contrast,) = summary.contrasts
    assert (contrast.other, contrast.above, contrast.prompts) == ("empty", 1, 2)
    whole, kind, rude = summary.rows
    assert whole.means == {"reference": 1, "empty": pytest.approx(2 / 3)}
    assert kind.means == {"reference": 1, "empty": pytest.approx(1 / 3)}
    assert (whole.failed, kind.failed, rude.failed) == (1, 0, 1)


def test_a_criterion_that_never_differs_is_named() -> None:
    pair = [judgement(POLITE, {"kind": k, "rude": 0}) for k in (0, 1)]
    assert TrialSummary.of(pair, [POLITE]).constant == ("judged/rude",)
    assert TrialSummary.of(pair[:1], [POLITE]).constant == ()


def test_classes_come_in_their_order() -> None:
    rubric = [
        criterion
        for label in ("pitfall", "optional", "essential")
        for criterion in make_criteria(label, label=label)
    ]
    values = dict.fromkeys(("pitfall", "optional", "essential"), 1.0)
    summary = TrialSummary.of([judgement(CHANNELS, values, rubric=rubric)], [CHANNELS])
    assert [row.part for row in summary.rows] == [None, "essential", "optional", "pitfall"]


def test_what_was_asked_is_in_the_line_of_a_judgement() -> None:
    line = judgement(POLITE, {"kind": 1, "rude": LOST}).to_json()
    assert line["scores"] == {"judged": None}
    first, second = line["verdicts"]
    assert (first["name"], first["polarity"], first["score"]) == ("kind", "positive", 1)
    assert second["answers"][0]["failure"] == "timeout"
    assert Question("criterion", "kind").text == first["text"]
