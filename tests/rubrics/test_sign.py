"""What tells the sign of a pitfall. All sentences are invented.

`pitfalls.txt` holds one a line: + or - (meeting it is good or bad), title, sentence, and where
there is one another criterion of its rubric; `negations.txt` holds more, in which what is absent or
denied decides. The half whose sentences hash to an odd number was put away while the rule was
written.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rvpo.rubrics.sign import Sign, sign


def table(name: str) -> list[tuple[str, ...]]:
    lines = (Path(__file__).parent / name).read_text(encoding="utf-8").splitlines()
    return [tuple(line.split("|")) for line in lines]


PITFALLS = table("pitfalls.txt")
NEGATIONS = table("negations.txt")
POLARITY = {"+": "positive", "-": "negative"}
MOST_WRONG = 0.05
MOST_UNCLEAR = {"pitfalls": 0.15, "negations": 0.25}


def is_put_away(text: str) -> bool:
    return hashlib.sha256(text.encode()).digest()[0] % 2 == 1


def told(title: str, text: str, other: str) -> Sign | None:
    return sign(text, title, [other.partition(": ")[2]] if other else [])


def test_the_table_is_large_and_balanced() -> None:
    assert len(PITFALLS) >= 200
    for half in (True, False):
        signs = Counter(s for s, _, text, _ in PITFALLS if is_put_away(text) == half)
        assert min(signs.values()) >= 40


@pytest.mark.parametrize("half", [True, False], ids=["put away", "seen"])
@pytest.mark.parametrize("name", ["pitfalls", "negations"])
def test_few_signs_are_told_wrongly(name: str, half: bool) -> None:
    rows = {"pitfalls": PITFALLS, "negations": NEGATIONS}[name]
    pitfalls = [row for row in rows if is_put_away(row[2]) == half]
    found = [(POLARITY[right], told(*rest)) for right, *rest in pitfalls]
    wrong = sum(answer is not None and answer.polarity != right for right, answer in found)
    told_by = Counter(answer.told_by if answer else "nothing" for _, answer in found)
    print(f"{len(found)} pitfalls, {wrong} wrong, told by {dict(told_by)}")
    answered = len(found) - told_by["nothing"]
    assert wrong <= MOST_WRONG * answered
    assert told_by["nothing"] <= MOST_UNCLEAR[name] * len(found)


@pytest.mark.parametrize(
    ("title", "text", "right"),
    [
        ("Avoids Unrelated Organs", "Does not mention unrelated organs like the lung.", "positive"),
        ("Common Mistake", "Does not mention (A), (B) or (C) as the correct answer.", "positive"),
        ("Avoids Survey Design", "Does not recommend a survey due to its bias.", "positive"),
        ("Overlooks Sodium", "Does not mention that the drug may lower sodium.", "negative"),
        ("Misidentifies Nerve", "Does not mention the optic nerve, or another one.", "negative"),
    ],
)
def test_title_and_sentence_tell_together(title: str, text: str, right: str) -> None:
    answer = sign(text, title)
    assert answer is not None
    assert answer.polarity == right


@pytest.mark.parametrize("text", ["Does not recommend it.", "Does not mention the spleen."])
def test_bare_absence_alone_tells_nothing(text: str) -> None:
    assert sign(text) is None
    assert sign(text, "Spleen") is None
    assert sign(text, "", ["Names the liver."]) is None


def test_what_other_criteria_ask_for_and_deny_at_once_tells_nothing() -> None:
    asked = ["Recommends aspirin.", "Aspirin should be avoided."]
    assert sign("Does not recommend aspirin.", "", asked) is None


@pytest.mark.parametrize("title", ["Avoids Omitting Units", "No Missing Units", "Omits Units"])
def test_deed_that_the_title_says_is_not_left_out_is_good(title: str) -> None:
    assert sign("Does not name the unit.", title) == Sign("negative", "title")
    assert sign("Does not name the nerve.", "Avoids Omitting Units") is None


@pytest.mark.parametrize(
    ("title", "text"),
    [
        ("Avoids Jargon", "Explains in plain words."),
        ("Avoids Jargon", "Uses plain words."),
        ("Avoids Jargon", "Does not explain its terms."),
        ("Avoids Omitting Units", "Names the unit."),
        ("Omits Units", "Names the unit."),
    ],
)
def test_title_against_a_sentence_of_another_kind_tells_nothing(title: str, text: str) -> None:
    assert sign(text, title) is None


@pytest.mark.parametrize("virtue", ["Avoids Aspirin", "Excludes Aspirin", "No Aspirin"])
def test_deed_that_the_title_says_is_avoided_is_bad(virtue: str) -> None:
    answer = sign("Prefers aspirin.", virtue)
    assert answer == Sign("negative", "title")


@settings(deadline=None)
@given(text=st.text(max_size=99), title=st.text(max_size=40), other=st.text(max_size=99))
def test_any_text_is_told_or_not(text: str, title: str, other: str) -> None:
    answer = sign(text, title, [other])
    assert answer is None or answer.polarity in ("positive", "negative")
