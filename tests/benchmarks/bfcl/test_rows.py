"""Rows are read as they are written, and what is not as it should be is named."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from rvpo.benchmarks.bfcl.distribution import Wheel, find
from rvpo.benchmarks.bfcl.rows import SINGLE_TURN, load
from rvpo.benchmarks.bfcl.score import SIZES
from rvpo.errors import ConfigError
from tests.benchmarks.bfcl.rows import CITY, answer, function, question, unpacked


def loaded(
    folder: Path, questions: list[Any], answers: list[Any] | None, category: str = "multiple"
) -> Any:
    return load(find("v4", unpacked(folder, questions, answers, category)), [category])


def test_every_single_turn_row_is_read(wheel: Wheel) -> None:
    rows = load(wheel)
    assert {row.category for row in rows} == set(SINGLE_TURN)
    for category in SINGLE_TURN:
        of_category = [row for row in rows if row.category == category]
        assert len(of_category) == SIZES[wheel.version][category]
        assert all(row.ground_truth for row in of_category) is not category.endswith("relevance")
    assert {row.language for row in rows} == {"python", "java", "javascript"}


def test_categories_come_in_the_order_asked_for(wheel: Wheel) -> None:
    rows = load(wheel, ["simple_java", "live_parallel"])
    assert [row.language for row in rows] == ["java"] * 100 + ["python"] * 16


def test_a_row_is_what_the_files_say(tmp_path: Path) -> None:
    messages = [{"role": "system", "content": "Be short."}, {"role": "user", "content": "Rain?"}]
    (row,) = loaded(tmp_path, [question(0, question=[messages])], [answer(0)])
    assert (row.id, row.category, row.language) == ("multiple_0", "multiple", "python")
    assert list(row.messages) == messages
    assert list(row.functions) == [function({"city": CITY}, ["city"])]
    assert list(row.ground_truth) == [{"weather": {"city": ["Oslo", ""]}}]


def test_text_is_kept_exactly(tmp_path: Path) -> None:
    text = " Ünïcode\u2028\u0085\r\n\t'\"\\ "
    messages = [{"role": "user", "content": text}]
    (row,) = loaded(tmp_path, [question(0, question=[messages])], [answer(0)])
    assert row.messages[0]["content"] == text


def test_answers_are_found_by_id(tmp_path: Path) -> None:
    answers = [answer(1, ground_truth=[{"weather": {}}]), answer(0)]
    rows = loaded(tmp_path, [question(0), question(1)], answers)
    assert [list(row.ground_truth[0]["weather"]) for row in rows] == [["city"], []]


@pytest.mark.parametrize("functions", [[], [function({})]])
def test_irrelevance_needs_no_answer_and_no_function(tmp_path: Path, functions: list[Any]) -> None:
    rows = loaded(tmp_path, [question(0, function=functions)], None, "live_irrelevance")
    assert [row.ground_truth for row in rows] == [()]


@pytest.mark.parametrize("category", ["memory_kv", "web_search_base"])
def test_categories_with_simulated_services_are_refused(tmp_path: Path, category: str) -> None:
    with pytest.raises(ConfigError, match=r"needs what bfcl-eval runs .* choose from simple_py"):
        load(find("v4", unpacked(tmp_path, [], None)), [category])


def test_an_unknown_category_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="'simpel' is no category of BFCL; choose from"):
        load(find("v4", unpacked(tmp_path, [], None)), ["simpel"])


@pytest.mark.parametrize(
    ("broken", "message"),
    [
        ("{", "row on line 1 is no JSON"),
        ("[]", "row on line 1 is no table"),
        ({"id": 3}, "row on line 1 is no table with a text 'id'"),
        (question(0, question=[]), "row multiple_0 is not one turn"),
        (question(0, question=[[], []]), "row multiple_0 is not one turn"),
        (question(0, question=[[]]), "row multiple_0 has a message"),
        (question(0, question=[[{"role": "user"}]]), "row multiple_0 has a message"),
        (question(0, function=[]), "row multiple_0 has no list 'function'"),
        (question(0, function=None), "row multiple_0 has no list 'function'"),
        (question(0, function=[{"name": "f"}]), "row multiple_0 has no list 'function'"),
        (question(0, function=[function({"x": 1})]), "row multiple_0 has no list 'function'"),
    ],
)
def test_a_broken_question_is_named(tmp_path: Path, broken: Any, message: str) -> None:
    with pytest.raises(ConfigError, match=rf"BFCL_v4_multiple\.json: {message}"):
        loaded(tmp_path, [broken], [answer(0)])


@pytest.mark.parametrize(
    ("broken", "message"),
    [
        (answer(0, ground_truth=[]), "row multiple_0 has no list 'ground_truth'"),
        (answer(0, ground_truth=["f()"]), "row multiple_0 has no list 'ground_truth'"),
        (answer(0, ground_truth=[{"f": {}, "g": {}}]), "row multiple_0 has no list"),
        (answer(0, ground_truth=[{"f": {"x": 1}}]), "row multiple_0 has no list 'ground_truth'"),
    ],
)
def test_a_broken_answer_is_named(tmp_path: Path, broken: Any, message: str) -> None:
    with pytest.raises(ConfigError, match=rf"possible_answer/BFCL_v4_multiple\.json: {message}"):
        loaded(tmp_path, [question(0)], [broken])


@pytest.mark.parametrize(
    ("questions", "answers", "message"),
    [
        ([question(0), question(1)], [answer(0)], "row multiple_1 has no answer"),
        ([question(0)], [answer(0), answer(1)], "row multiple_1 is answered but not asked"),
        ([question(0), question(0)], [answer(0)], "row multiple_0 is there twice"),
    ],
)
def test_questions_and_answers_are_one_to_one(
    tmp_path: Path, questions: list[Any], answers: list[Any], message: str
) -> None:
    with pytest.raises(ConfigError, match=message):
        loaded(tmp_path, questions, answers)
