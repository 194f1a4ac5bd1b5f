"""Signs that a judge tells of criteria in doubt. All sentences are invented."""

from __future__ import annotations

import json
from collections.abc import Callable
from concurrent.futures import Future
from pathlib import Path
from typing import Any

import pytest

from rvpo.errors import DataError
from rvpo.judge.types import Answer, Job
from rvpo.rubrics.doubt import UnclearSign, read_signs
from rvpo.trial.signs import ask_signs
from tests.rubrics.rows import source, user

ROW = {
    "prompt": user("Why is it red?"),
    "Rubrics": [
        {"criterion": "Names rest.", "points": 8},
        {"criterion": "Should warn of heat.", "points": -3},
        {"criterion": "Fails to warn of cold.", "points": 3},
    ],
}


class Oracle:
    """A judge that answers by a rule: what it says of a job, bad and good."""

    def __init__(self, rule: Callable[[str], tuple[float | None, float | None]]) -> None:
        self.rule = rule
        self.jobs: list[Job] = []

    def submit(self, job: Job) -> Future[tuple[Answer, ...]]:
        self.jobs.append(job)
        future: Future[tuple[Answer, ...]] = Future()
        values = self.rule(job.response)
        failures = [None if value is not None else "timeout" for value in values]
        future.set_result(
            tuple(
                Answer(value=value, reason="So it is.", failure=failure)
                for value, failure in zip(values, failures, strict=True)
            )
        )
        return future

    def cancel(self) -> None:
        pass


@pytest.mark.parametrize(
    ("values", "polarity", "failed"),
    [
        ((1.0, 0.0), "negative", 0),
        ((0.0, 1.0), "positive", 0),
        ((1.0, 1.0), None, 0),
        ((0.0, 0.0), None, 0),
        ((None, 1.0), None, 1),
        ((None, None), None, 2),
    ],
)
def test_sign_counts_where_both_verdicts_agree(
    values: tuple[Any, Any], polarity: Any, failed: int
) -> None:
    (told,) = ask_signs([UnclearSign("Why?", "Mentions it.")], Oracle(lambda _: values))
    assert (told.polarity, told.failed) == (polarity, failed)


def test_judge_is_asked_once_per_criterion_with_its_question_and_its_rubric() -> None:
    _, report = source("rubrichub").read([ROW])
    judge = Oracle(lambda _: (0.0, 1.0))
    assert len(list(ask_signs(report.unclear, judge))) == len(judge.jobs) == 2
    (role, asked), *_ = judge.jobs[0].conversation
    assert role == "user"
    assert "why is it red" in asked.lower()
    assert "Names rest." in asked
    assert "Should warn of heat." in judge.jobs[0].response


def test_told_signs_are_read_and_counted_by_the_judge(tmp_path: Path) -> None:
    _, report = source("rubrichub").read([ROW])
    file = tmp_path / "signs.jsonl"
    told = ask_signs(report.unclear, Oracle(lambda r: (0.0, 1.0) if "heat" in r else (1.0, 0.0)))
    lines = [each.criterion.to_json(each.polarity, each.reason) for each in told]
    file.write_text("".join(json.dumps(line) + "\n" for line in lines), encoding="utf-8")
    rows, after = source("rubrichub", signs=str(file)).read([ROW])
    assert [(c["text"], c["polarity"]) for c in rows[0]["rubric"]] == [
        ("Names rest.", "positive"),
        ("Should warn of heat.", "positive"),
        ("Fails to warn of cold.", "negative"),
    ]
    assert after.told_by == {"judge": 2}
    assert after.unclear == ()
    assert "Signs of 2 pitfalls told: 2 by the judge." in str(after)


def test_what_the_judge_did_not_tell_is_treated_as_set(tmp_path: Path) -> None:
    _, report = source("rubrichub").read([ROW])
    file = tmp_path / "signs.jsonl"
    lines = [json.dumps(sign.to_json(None, "")) for sign in report.unclear]
    file.write_text("\n".join(lines), encoding="utf-8")
    for doubtful, kept in (("drop", 1), ("keep", 3)):
        rows, again = source("rubrichub", signs=str(file), doubtful=doubtful).read([ROW])
        assert (len(rows[0]["rubric"]), len(again.unclear)) == (kept, 2)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (None, "signs: '{}' cannot be read (No such file"),
        ("[1]", "line 1: is a list"),
        ('{"key": "k", "polarity": "bad"}', "line 1: needs a `key`, and a `polarity` that is"),
        ('{"polarity": "negative"}', "line 1: needs a `key`"),
    ],
)
def test_file_of_signs_that_is_none_is_one_sentence(
    tmp_path: Path, text: str | None, words: str
) -> None:
    file = tmp_path / "signs.jsonl"
    if text is not None:
        file.write_text(text, encoding="utf-8")
    with pytest.raises(DataError) as error:
        read_signs(str(file))
    assert words.format(file) in str(error.value)
    assert str(error.value).endswith("`rvpo judge --config FILE --signs FILE` writes such lines")
