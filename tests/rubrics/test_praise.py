"""Sentences that praise or blame in so many words. All of them are invented."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rvpo.rubrics.praise import is_failure, is_praise, statement

FAILURES = [
    "Fails to name the dose.",
    "The response fails to mention the risk.",
    "Incorrectly states that the drug is safe.",
    "Contains factual errors about the treaty.",
    "Does the response contain factual errors?",
    "Provides false information about the law.",
    "Confuses speed with velocity.",
    "Misrepresents the position of the author.",
    "Is the response misleading?",
    "The answer is factually wrong.",
    "Overlooks the second root.",
    "Violates the word limit.",
    "Contains several factual inaccuracies.",
    "Makes an arithmetic error.",
    "The response does not answer the question.",
    "Does the response not follow the user's instructions?",
    "Lacks evidence.",
    "Is overly long.",
    "Uses excessive jargon.",
    "Ignores the user's question.",
    "Omits the most important warning.",
    "Provides irrelevant information.",
    "Incorrect calculation of the tax.",
    "Misses the point of the question.",
]
PRAISE = [
    "Gives the correct dose.",
    "Provides accurate information on the law.",
    "The response is accurate and complete.",
    "Is the answer correct?",
    "Offers appropriate reassurance.",
    "The explanation is clear.",
]
NEITHER = [
    "Names rest.",
    "Omits greetings.",
    "Ignores air resistance.",
    "Does not contain factual errors.",
    "Does the response not mislead?",
    "Does not fail to greet.",
    "Avoids false claims.",
    "Should not confuse the two.",
    "Explains why the first attempt fails to converge.",
    "Says that the claim of the user is wrong.",
    "Identifies the incorrect step of the proof.",
    "Gives the correct name, but the wrong date.",
    "Gives an unclear answer.",
    "Includes only the correct options.",
    "Mission and values are named.",
    "States the error bars.",
    "Includes error handling.",
    "Includes common mistakes to avoid.",
    "Includes a false-friend example.",
    "Contains an explanation of the errors.",
    "Lacks jargon.",
    "Omits the preamble.",
    "Missing values are named.",
    "Does not mention the brand.",
    "Names the error of the user.",
    "Corrects the mistake in line 3.",
    "",
]


@pytest.mark.parametrize("text", FAILURES)
def test_blame_is_failure_and_no_praise(text: str) -> None:
    assert is_failure(text)
    assert not is_praise(text)


@pytest.mark.parametrize("text", PRAISE)
def test_praise_is_no_failure(text: str) -> None:
    assert is_praise(text)
    assert not is_failure(text)


@pytest.mark.parametrize("text", NEITHER)
def test_rule_of_a_task_is_neither(text: str) -> None:
    assert not is_failure(text)
    assert not is_praise(text)


@pytest.mark.parametrize(
    ("asked", "said"),
    [
        ("Does the response name it?", "the response name it"),
        ("Does the answer not exceed 100 words?", "the answer does not exceed 100 words"),
        ("Is the model's reply kind?", "the model's reply is kind"),
        ("Names it.", "Names it."),
        ("Is every line short?", "Is every line short?"),
    ],
)
def test_question_becomes_what_its_yes_says(asked: str, said: str) -> None:
    assert statement(asked) == said


@settings(deadline=None)
@given(st.text(max_size=60))
def test_no_text_is_praise_and_blame_at_once(text: str) -> None:
    assert not (is_failure(text) and is_praise(text))
