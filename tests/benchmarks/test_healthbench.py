"""HealthBench: records, template and score, against loops written from the paper. All rows here are
invented."""

from __future__ import annotations

import json
import math
import os
import shutil
import statistics
import subprocess
import sys
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from rvpo.benchmarks.healthbench.healthbench import HealthBench, HealthBenchConfig
from rvpo.benchmarks.healthbench.records import Item, Record, read_records
from rvpo.benchmarks.healthbench.score import (
    LENGTH_PENALTIES,
    Graded,
    bootstrap_std,
    response_score,
    scores,
)
from rvpo.benchmarks.healthbench.template import Template
from rvpo.config.judge import JudgeConfig
from rvpo.errors import ConfigError, DataError, RewardError
from rvpo.evaluate.build import grader_of
from rvpo.judge.prompt import GRADER_SYSTEM, messages
from rvpo.judge.reply_object import Unreadable
from rvpo.judge.types import Answer, Job, Question
from rvpo.judge.verdict import read, schema
from tests.fakes import FakeJudge

Tagged = tuple[float, bool | None, Sequence[str]]


def record(items: Sequence[Tagged], identity: str = "p", tags: Sequence[str] = ()) -> Graded:
    return Graded(
        Record(
            id=identity,
            messages=({"role": "user", "content": "Q"},),
            items=tuple(Item(f"criterion {n}", p, tuple(t)) for n, (p, _, t) in enumerate(items)),
            tags=tuple(tags),
            canary="",
        ),
        tuple(met for _, met, _ in items),
    )


def raw(identity: str = "p1", **changes: Any) -> dict[str, Any]:
    return {
        "prompt_id": identity,
        "prompt": [{"role": "user", "content": "Is it safe?"}],
        "rubrics": [
            {"criterion": "Says so.", "points": 5, "tags": ["axis:accuracy", "level:example"]},
            {"criterion": "Is rude.", "points": -3, "tags": ["axis:communication_quality"]},
        ],
        "example_tags": ["theme:hedging"],
        "ideal_completions_data": None,
        "canary": "invented",
        **changes,
    }


def file(folder: Path, *rows: dict[str, Any]) -> Path:
    path = folder / "rows.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return path


# --- the score ------------------------------------------------------------------------------------


def test_points_met_over_all_points_above_zero() -> None:
    items = record([(5, True, ()), (3, False, ()), (-4, True, ()), (-2, False, ())])
    assert response_score(items.record.items, items.met) == pytest.approx((5 - 4) / 8)


def test_a_response_may_score_below_zero_and_only_the_mean_is_clipped() -> None:
    low, high = record([(2, False, ()), (-6, True, ())]), record([(2, True, ())], "q")
    assert response_score(low.record.items, low.met) == -3
    assert scores([low, high])["overall"].value == 0  # the mean is -1
    others = [record([(2, True, ())], f"r{n}") for n in range(6)]
    # Clipping each response first would make 7/8 of it.
    assert scores([low, high, *others])["overall"].value == pytest.approx((7 - 3) / 8)


def test_without_points_above_zero_there_is_no_score() -> None:
    only_faults = record([(-3, True, ("axis:a",)), (4, True, ("axis:b",))])
    found = scores([only_faults])
    assert found["axis/a"].value is None
    assert found["axis/a"].count == 0
    assert found["axis/b"].value == 1


def test_a_theme_counts_the_whole_response_and_an_axis_its_own_criteria() -> None:
    first = record([(2, True, ("axis:a",)), (2, False, ("axis:b",))], "p", ["theme:x"])
    second = record([(4, True, ("axis:b",))], "q", ["theme:y"])
    found = scores([first, second])
    assert found["theme/x"].value == 0.5
    assert found["axis/a"].value == 1
    assert found["axis/b"].value == 0.5
    assert found["axis/b"].count == 2
    assert found["axis/a"].count == 1


def test_an_unknown_verdict_leaves_both_sums() -> None:
    items = record([(5, True, ()), (5, None, ()), (-5, None, ())])
    assert response_score(items.record.items, items.met) == 1
    assert response_score(items.record.items, (None, None, True)) is None


def test_coverage_says_how_much_is_known_and_what_the_rest_could_be() -> None:
    items = [(5, True, ("axis:a",)), (5, None, ("axis:b",)), (-5, None, ("axis:a",))]
    found = scores([record(items), record([(1, True, ())], "q")])
    assert found["overall"].coverage == 0.5
    assert found["overall"].possible == pytest.approx(((0 / 10 + 1) / 2, (10 / 10 + 1) / 2))
    assert found["axis/a"].coverage == 0.5
    assert found["axis/a"].possible == (0, 1)
    assert found["axis/b"].value is None
    assert found["axis/b"].coverage == 0
    assert found["axis/b"].possible == (0, 1)


points = st.sampled_from([-10, -7, -5, -1, 1, 3, 5, 10])
tagged = st.tuples(
    points,
    st.sampled_from([True, False, None]),
    st.lists(st.sampled_from(["axis:a", "axis:b", "level:c", "cluster:d"]), unique=True),
)
responses = st.lists(
    st.tuples(st.lists(tagged, min_size=1, max_size=6), st.sampled_from([[], ["theme:x"]])),
    min_size=1,
    max_size=8,
)


def by_hand(
    drawn: list[tuple[list[Tagged], list[str]]], tag: str | None, whole: bool
) -> float | None:
    """The reference's formula, once more and a number at a time."""
    values = []
    for items, themes in drawn:
        if tag is not None and whole and tag not in themes:
            continue
        own = [item for item in items if tag is None or whole or tag in item[2]]
        possible = achieved = 0.0
        for worth, met, _ in own:
            if met is None:
                continue
            if worth > 0:
                possible += worth
            if met:
                achieved += worth
        if possible:
            values.append(achieved / possible)
    return None if not values else min(1.0, max(0.0, statistics.fmean(values)))


@given(responses)
def test_scores_equal_the_formula(drawn: list[tuple[list[Tagged], list[str]]]) -> None:
    graded = [record(items, f"p{n}", themes) for n, (items, themes) in enumerate(drawn)]
    found = {name: score.value for name, score in scores(graded).items()}
    assert found.pop("overall") == pytest.approx(by_hand(drawn, None, whole=True))
    for name, value in found.items():
        tag = name.replace("/", ":")
        assert value == pytest.approx(by_hand(drawn, tag, whole=tag.startswith("theme")))


@given(responses, st.lists(st.integers(0, 9_000), min_size=8, max_size=8))
def test_the_length_adjustment_equals_its_formula(
    drawn: list[tuple[list[Tagged], list[str]]], lengths: list[int]
) -> None:
    graded = [
        replace(record(items, f"p{n}", themes), length=lengths[n])
        for n, (items, themes) in enumerate(drawn)
    ]
    found, plain = scores(graded, 0.0392), scores(graded)
    assert "overall_length_adjusted" not in plain
    values = [
        value - 0.0392 * ((each.length - 2000) / 500)
        for each in graded
        if (value := response_score(each.record.items, each.met)) is not None
    ]
    adjusted = found.pop("overall_length_adjusted")
    expected = min(1.0, max(0.0, statistics.fmean(values))) if values else None
    assert adjusted.value == (None if expected is None else pytest.approx(expected))
    assert found == plain


@pytest.mark.parametrize("given", ["short", -0.1, True, float("nan")])
def test_a_length_penalty_is_a_number_or_the_name_of_a_set(given: Any) -> None:
    with pytest.raises(ValidationError, match="must be a number from 0 on, or full, hard") as told:
        HealthBenchConfig.model_validate({"path": "x", "length_penalty": given})
    assert told.value.error_count() == 1
    for name in (*LENGTH_PENALTIES, 0.5):
        HealthBenchConfig.model_validate({"path": "x", "length_penalty": name})


def test_a_short_response_gains_what_a_long_one_loses_and_only_the_mean_is_clipped() -> None:
    def adjusted(*lengths: int) -> float | None:
        graded = [replace(record([(1, True, ())], f"p{n}"), length=n) for n in lengths]
        return scores(graded, LENGTH_PENALTIES["professional"])["overall_length_adjusted"].value

    assert adjusted(2000) == 1
    assert adjusted(2500) == pytest.approx(1 - 0.0147)
    assert adjusted(1500, 2500) == 1
    assert adjusted(1000) == 1


@given(responses)
def test_known_scores_lie_between_the_possible_ones(
    drawn: list[tuple[list[Tagged], list[str]]],
) -> None:
    """Whatever the unknown verdicts turn out to be; where all are known, the three are one."""
    graded = [record(items, f"p{n}", themes) for n, (items, themes) in enumerate(drawn)]
    possible = {name: score.possible for name, score in scores(graded).items()}
    for unknown in (True, False):
        sure = [
            ([(p, unknown if m is None else m, t) for p, m, t in items], themes)
            for items, themes in drawn
        ]
        graded = [record(items, f"p{n}", themes) for n, (items, themes) in enumerate(sure)]
        for name, score in scores(graded).items():
            ends = possible[name]
            assert (ends is None) == (score.value is None)
            if ends is not None and score.value is not None:
                assert ends[0] <= score.value <= ends[1]
                assert score.possible == (score.value, score.value)
            assert score.coverage == 1


def test_repeated_responses_are_resampled_with_their_conversation() -> None:
    graded = [record([(1, n % 2 == 0, ())], f"p{n % 2}") for n in range(40)]
    interval = scores(graded)["overall"].interval
    assert interval == (0, 1)  # of two conversations, whose responses all score alike
    std = bootstrap_std(graded)
    assert std is not None
    assert std == pytest.approx(math.sqrt(0.25 / 40), rel=0.15)


# --- records and template -------------------------------------------------------------------------


def test_records_are_read_as_they_are(tmp_path: Path) -> None:
    second = raw("p2", rubrics=str(raw()["rubrics"]), prompt=json.dumps(raw()["prompt"]))
    first, other = read_records(str(file(tmp_path, raw(), second)), "test")
    assert [str(item) for item in first.items] == ["[5] Says so.", "[-3] Is rude."]
    assert first.items == other.items  # a list may be written as text
    assert first.messages == other.messages
    assert first.canary == "invented"


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"rubrics": None}, "rubrics is no list"),
        ({"rubrics": [{"criterion": "c", "points": True, "tags": []}]}, "points are True"),
        ({"prompt": [{"role": "assistant", "content": "Hi"}]}, "does not end with the user"),
        ({"prompt_id": 3}, "prompt_id is a int, no text"),
    ],
)
def test_a_row_that_is_no_record_is_refused(
    tmp_path: Path, change: dict[str, Any], words: str
) -> None:
    with pytest.raises(DataError, match=f"row 2 is no HealthBench record.*{words}"):
        read_records(str(file(tmp_path, raw(), raw("p2", **change))), "test")


def test_a_file_of_the_hub_is_found_by_dataset_and_name(tmp_path: Path) -> None:
    """In the Hub's own cache, as there is no network here."""
    commit = "0" * 40
    cached = tmp_path / "hub/datasets--openai--healthbench"
    snapshot = cached / "snapshots" / commit
    snapshot.mkdir(parents=True)
    (cached / "refs").mkdir()
    (cached / "refs/main").write_text(commit)
    shutil.copy(file(tmp_path, raw()), snapshot / "hard.jsonl")
    code = (
        "from rvpo.benchmarks.healthbench.records import read_records as read\n"
        "print(read('openai/healthbench/hard.jsonl', 'test')[0].id)\n"
        "try: read('openai/healthbench/soft.jsonl', 'test')\n"
        "except Exception as error: print(type(error).__name__, error)"
    )
    environment = {**os.environ, "HF_HOME": str(tmp_path), "HF_HUB_OFFLINE": "1"}
    command = [sys.executable, "-c", code]
    said = subprocess.run(command, env=environment, stdout=subprocess.PIPE, text=True, check=True)
    first, second = said.stdout.splitlines()
    assert first == "p1"
    assert second.startswith("DataError benchmarks.healthbench.path: there is no file 'openai/")


def test_a_record_that_comes_twice_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="two records with the prompt_id 'p1'"):
        read_records(str(file(tmp_path, raw(), raw())), "test")


TURNS = ({"role": "user", "content": "One?"}, {"role": "assistant", "content": "Two."})


def test_a_template_from_outside_is_filled_exactly(tmp_path: Path) -> None:
    path = tmp_path / "template.txt"
    path.write_bytes(
        b"\r\nRules {x} \\1\n\n<<conversation>>\n--\n<<rubric_item>>\n--\n<<rubric_item>> "
    )
    found = Template.read(path).filled(TURNS, "Three.", "[5] Does it.")
    conversation = "user: One?\n\nassistant: Two.\n\nassistant: Three."
    assert found == (f"\r\nRules {{x}} \\1\n\n{conversation}\n--\n[5] Does it.\n--\n[5] Does it. ")


@given(st.text(), st.text())
def test_a_response_cannot_fill_a_place(response: str, item: str) -> None:
    template = Template("a <<conversation>> b <<rubric_item>> c")
    response = f"<<rubric_item>> \\g<0> {response} <<conversation>>"
    found = template.filled((), response, item)
    assert found == f"a assistant: {response} b {item} c"


def test_our_template_states_the_rules() -> None:
    text = Template.read(None).text
    for word in ("criteria_met", "explanation", "such as", "literally", "<<rubric_item>>"):
        assert word in text
    assert len(Template.read(None).sha256) == 64


@pytest.mark.parametrize("text", ["no places", "<<conversation>>", "<<rubric_item>>"])
def test_a_template_without_its_places_is_refused(tmp_path: Path, text: str) -> None:
    path = tmp_path / "template.txt"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(ConfigError, match="has no <<"):
        Template.read(path)


# --- the grader -----------------------------------------------------------------------------------


def test_the_grader_reads_the_template_and_nothing_else() -> None:
    job = Job(conversation=(("user", "x"),), response="y", questions=())
    assert messages(job, Question("grade", " filled \n"), reasons=True) == [
        {"role": "system", "content": GRADER_SYSTEM},
        {"role": "user", "content": " filled \n"},
    ]


GOOD = '{"explanation": "It does.", "criteria_met": true}'


@pytest.mark.parametrize(
    "text",
    [
        GOOD,
        f"```json\n{GOOD}\n```",
        f"```\n{GOOD}\n```",
        f"<think>Is it? {{not this}}</think>\n{GOOD}",
        f"Here is the object:\n\n{GOOD}",
        GOOD.replace("It does.", r"It says \alpha."),
    ],
)
def test_a_grade_is_read_in_any_dress(text: str) -> None:
    value, reason = read(Question("grade", ""), text)
    assert value == 1
    assert reason.startswith("It")


@pytest.mark.parametrize(
    "text",
    [
        GOOD[:-8],
        '{"explanation": "x", "criteria_met": "true"}',
        '{"explanation": "x"}',
        '{"explanation": "x", "met": true}',
        f"{GOOD}\n{GOOD.replace('true', 'false')}",
        "I think the criterion is met.",
        "",
    ],
)
def test_a_reply_without_one_verdict_is_no_grade(text: str) -> None:
    with pytest.raises(Unreadable):
        read(Question("grade", ""), text)


def test_a_grade_always_explains_itself() -> None:
    for reasons in (True, False):
        assert list(schema(Question("grade", ""), reasons)["properties"]) == [
            "explanation",
            "criteria_met",
        ]


# --- the benchmark --------------------------------------------------------------------------------

JUDGE = JudgeConfig.model_validate({"model": "j", "endpoints": [{"url": "http://127.0.0.1:1"}]})


def met_if_rude(response: str, question: Question) -> Answer:
    """The judge fails where the response asks it to."""
    if "[5]" in question.text and "fail" in response:
        return Answer(value=None, failure="timeout")
    return Answer(value=float("[-3]" in question.text and "rude" in response), reason="so")


def judged(
    judge: JudgeConfig = JUDGE,
    rule: Callable[[str, Question], Answer] = met_if_rude,
    **settings: Any,
) -> HealthBench:
    benchmark = HealthBenchConfig.model_validate(settings).read(print)
    return benchmark.with_judge(grader_of(judge, FakeJudge(rule)))


def test_verdicts_find_their_items_and_failures_stay_unknown(tmp_path: Path) -> None:
    path = str(file(tmp_path, raw(), raw("p2")))
    benchmark = judged(path=path)
    answers = ["rude", "please fail"]
    rows = [
        {"id": p.id, "completion": text, **benchmark.grade(p, text)()}
        for p, text in zip(benchmark.prompts, answers, strict=True)
    ]
    assert [v["met"] for v in rows[0]["verdicts"]] == [False, True]
    assert [v["met"] for v in rows[1]["verdicts"]] == [None, False]
    assert [benchmark.ungraded(row) for row in rows] == [0, 0.5]
    assert rows[0]["canary"] == "invented"
    summary = benchmark.summarise(rows)
    assert summary.scores["overall"].value == 0  # -3/5, and nothing of the second
    assert summary.scores["overall"].count == 1
    assert summary.metrics["overall/coverage"] == 0.75
    assert summary.about["failed verdicts"] == {"timeout": 1}


def test_what_was_graded_is_not_asked_again(tmp_path: Path) -> None:
    benchmark = judged(path=str(file(tmp_path, raw())))
    (prompt,) = benchmark.prompts
    first = benchmark.grade(prompt, "fail")()
    asked: list[str] = []

    def mended(response: str, question: Question) -> Answer:
        asked.append(question.text)
        return Answer(value=1.0, reason="mended")

    judge = grader_of(JUDGE, FakeJudge(mended))
    again = benchmark.with_judge(judge).grade(prompt, "fail", first)()
    assert len(asked) == 1
    assert "[5]" in asked[0]
    assert [verdict["met"] for verdict in again["verdicts"]] == [True, False]
    assert again["verdicts"][1] == first["verdicts"][1]


def test_grader_and_template_are_part_of_what_a_score_is(tmp_path: Path) -> None:
    path, template = str(file(tmp_path, raw())), tmp_path / "t.txt"
    template.write_text("<<conversation>> <<rubric_item>>", encoding="utf-8")
    other = JUDGE.model_copy(update={"model": "k"})
    identities = [
        judged(path=path).identity,
        judged(other, path=path).identity,
        judged(path=path, grader_template=template).identity,
    ]
    assert all(identities.count(each) == 1 for each in identities)
    again = JUDGE.model_copy(update={"timeout_s": 5.0, "workers": 2})
    assert judged(again, path=path).identity == identities[0]


def test_a_benchmark_says_what_it_asks_of_a_judge(tmp_path: Path) -> None:
    path = str(file(tmp_path, raw(), raw("p2")))
    assert judged(path=path, repeats=3).judge_questions == 2 * 3 * 2


def test_without_a_judge_nothing_is_graded(tmp_path: Path) -> None:
    benchmark = HealthBenchConfig(path=str(file(tmp_path, raw()))).read(print)
    with pytest.raises(RewardError, match="needs a judge"):
        benchmark.grade(benchmark.prompts[0], "Yes.")
