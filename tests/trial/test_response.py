"""Without a file of completions, the data bring some whose worth is known."""

from __future__ import annotations

import pytest

from rvpo.trial.response import REFERENCE_COLUMNS, Response, controls, first_prompts
from rvpo.types import Prompt
from tests.fakes import make_prompt


def kinds(responses: tuple[Response, ...]) -> dict[str, str]:
    return {response.kind: response.text for response in responses}


def asking(number: int, **columns: object) -> Prompt:
    return make_prompt(f"p/{number}", f"Question {number}?", **columns)


@pytest.mark.parametrize("column", REFERENCE_COLUMNS)
def test_a_reference_stands_beside_nothing_and_something_else(column: str) -> None:
    prompts = [asking(i, **{column: f"Answer {i}."}) for i in range(3)]
    found = controls(prompts, 2)
    assert kinds(found[:3]) == {"reference": "Answer 0.", "empty": "", "off-topic": "Answer 1."}
    assert kinds(found[3:]) == {"reference": "Answer 1.", "empty": "", "off-topic": "Answer 2."}


def test_without_references_another_question_is_off_the_topic() -> None:
    found = controls([asking(0), asking(1)], 5)
    assert [(r.prompt.id, r.kind, r.text) for r in found] == [
        ("p/0", "empty", ""),
        ("p/0", "off-topic", "Question 1?"),
        ("p/1", "empty", ""),
        ("p/1", "off-topic", "Question 0?"),
    ]


def test_an_answer_that_prompts_share_is_not_off_the_topic() -> None:
    prompts = [asking(0, answer=4), asking(1, answer="4"), asking(2, answer=5)]
    assert kinds(controls(prompts, 1))["off-topic"] == "5"


def test_an_only_prompt_has_nothing_off_the_topic() -> None:
    assert set(kinds(controls([asking(0, answer="a")], 5))) == {"reference", "empty"}


def test_an_empty_reference_is_none() -> None:
    prompts = [asking(0, reference_answer=" ", answer=None), asking(1, reference_answer="yes")]
    assert kinds(controls(prompts, 1)) == {"empty": "", "off-topic": "yes"}


def test_the_first_prompts_are_counted_and_not_their_responses() -> None:
    responses = [Response(prompt=asking(i // 2), text=str(i)) for i in range(6)]
    assert [r.text for r in first_prompts(responses, 2)] == ["0", "1", "2", "3"]
