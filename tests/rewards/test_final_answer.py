r"""Samples that answer the same are counted as the same, however they write it."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rvpo.errors import ConfigError, RewardError
from rvpo.rewards.final_answer import answers_function, final_answer, final_answers


@pytest.mark.parametrize(
    ("text", "answer"),
    [
        (r"So \boxed{12}.", "12"),
        (r"First \boxed{3}, no: $\boxed{\frac{1}{2}}$", r"\frac{1}{2}"),
        (r"\boxed{ \{1, 2\} } of {3", r"\{1, 2\}"),
        (r"\boxed{7} and then \boxed{unfinished", "7"),
        ("<answer> Paris </answer>", "paris"),
        ("<answer>1</answer> wait <ANSWER>2</ANSWER>", "2"),
        ("<answer>1</answer> <answer>", "1"),
        ("3 + 4 = 7\n#### 7", "7"),
        ("#### 1,234", "1234"),
        ("It is 5.\nAnswer: 5", "5"),
        ("**Final Answer:** B", "b"),
        ("The answer is 42.", "42"),
        ("hence the answer is: $18", "18"),
        ("#### A heading\nA text.", "#### a heading a text"),
        ("  A   Text\nof lines. ", "a text of lines"),
        ("12.50", "12.5"),
        ("1,000,000", "1000000"),
        ("-0.0", "0"),
        ("", None),
        ("  \n", None),
        ("$", None),
    ],
)
def test_the_answer_is_found_where_it_is_stated(text: str, answer: str | None) -> None:
    assert final_answer(text) == answer


@given(number=st.integers(-(10**30), 10**30), places=st.integers(0, 3), dollar=st.booleans())
def test_a_number_is_the_same_in_all_spellings(number: int, places: int, dollar: bool) -> None:
    grouped = f"{'$' * dollar}{number:,}{'.' * bool(places)}{'0' * places}"
    assert final_answer(grouped) == final_answer(f"The answer is {number}.") == str(number)


BODIES = st.one_of(
    st.integers(-(10**9), 10**9).map(lambda n: (str(n), str(n))),
    st.decimals(-1000, 1000, places=2).map(lambda d: (f"{d}", f"{d.normalize() + 0:f}")),
    st.integers(1000, 10**9).flatmap(
        lambda n: st.sampled_from([",", "{,}", "\\,", "\u202f"]).map(
            lambda mark: (f"{n:,}".replace(",", mark), str(n))
        )
    ),
    st.integers(1, 10**6).flatmap(
        lambda n: st.sampled_from(
            [
                *((" cm", "cm"), ("\\%", "percent"), ("\\text{ dollars}", "dollar")),
                *(("^\\circ", "degree"), (" km", "km"), (" kilometers", "km"), ("km/h", "kmh")),
            ]
        ).map(lambda unit: (f"{n}{unit[0]}", f"{n} {unit[1]}"))
    ),
    st.integers(1, 10**6).map(lambda n: (f"\N{MINUS SIGN}{n}", str(-n))),
    st.sampled_from("ABCDE").map(lambda letter: (letter, letter.lower())),
    st.sampled_from("ABCDE").map(lambda letter: (f"({letter})", letter.lower())),
    st.sampled_from(["Paris", "St. Louis", "\\frac{1}{2}"]).map(lambda t: (t, t.lower())),
)
"""(spelling, answer)"""
SIGNS = st.sampled_from(["X", "$X$", "\\(X\\)", "\\[X\\]", "$$X$$", "**X**", "X."])
PLACES = st.sampled_from(
    [
        "\\boxed{X}",
        "So $\\boxed{X}$.",
        "<answer>X</answer>",
        "Answer: X",
        "Answer:\nX",
        "**Answer:**\n\nX",
        "**Final Answer:** X",
        "The answer is X",
        "X",
    ]
)


@given(body=BODIES, sign=SIGNS, place=PLACES)
def test_an_answer_is_the_same_however_it_is_wrapped(
    body: tuple[str, str], sign: str, place: str
) -> None:
    spelling, answer = body
    assert final_answer(place.replace("X", sign.replace("X", spelling))) == answer


@given(number=st.integers(-(10**6), 10**6), sign=SIGNS)
def test_a_sentence_behind_a_number_is_none_of_it(number: int, sign: str) -> None:
    stated = sign.replace("X", str(number)).removesuffix(".")
    assert final_answer(f"Answer: {stated}. So we are done.") == str(number)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("12", "-12"),
        ("12", "1.2"),
        ("(1, 200)", "1200"),
        ("(1,200)", "1200"),
        ("[12]", "12"),
        ("0.5", "50%"),
        ("A", "B"),
        ("St. Louis", "St. Paul"),
        ("12 x", "12"),
        ("f(x)", "x"),
        ("1 200", "1200"),
        ("1,20", "120"),
        ("x - 1", "x + 1"),
        ("12 cm", "12 m"),
        ("5 hours", "5 minutes"),
        ("50\\%", "50^\\circ"),
    ],
)
def test_different_answers_stay_different(one: str, other: str) -> None:
    for place in ("Answer: X", "\\boxed{X}", "X"):
        assert final_answer(place.replace("X", one)) != final_answer(place.replace("X", other))


SPELLINGS = st.sampled_from(
    ["12", "12.0", "\\(12\\)", "12.", "$12$", "\\boxed{12}", "The answer is 12."]
)
UNITS = {"cm": [" cm", " centimeters", "\\text{ cm}"], "m": [" m", "m", " metres"]}


@given(st.lists(SPELLINGS, min_size=1, max_size=6), st.sampled_from(["", *UNITS]), st.data())
def test_a_number_votes_with_the_only_unit_of_its_prompt(
    plain: list[str], unit: str, data: st.DataObject
) -> None:
    united = [f"12{data.draw(st.sampled_from(UNITS[unit]))}"] if unit else []
    assert len(set(final_answers([*plain, *united]))) == 1


@given(st.lists(SPELLINGS, max_size=4), st.permutations(["cm", "m"]), st.data())
def test_two_units_are_two_votes_and_a_number_without_one_is_neither(
    plain: list[str], units: list[str], data: st.DataObject
) -> None:
    united = [f"12.0{data.draw(st.sampled_from(UNITS[unit]))}" for unit in units]
    votes = final_answers([*united, *plain])
    assert len(set(votes)) == 2 + bool(plain)
    assert len(set(votes[:2])) == 2


def test_a_unit_is_that_of_its_own_number() -> None:
    assert len(set(final_answers(["12", "13 cm", "12 m", ""]))) == 3


@given(st.text(alphabet="\\boxed{}<answer>#/ 1a\n:is", max_size=200))
def test_no_text_is_too_strange(text: str) -> None:
    found = final_answer(text)
    assert found is None or found.strip()


@pytest.mark.parametrize("part", ["\\boxed{", "<answer>", "\n", "{", "answer: ", "#", " ", "*"])
def test_long_texts_take_no_longer_for_what_they_repeat(part: str) -> None:
    """A pattern that goes back for each place would take minutes for these."""
    final_answer(part * 20_000)


def test_a_function_of_ones_own_takes_its_place() -> None:
    assert answers_function(None, "evaluate.answer") is final_answers
    own = answers_function("tests.rewards.test_final_answer:length", "evaluate.answer")
    assert own(["abc", "12 cm"]) == ["3", "5"]


@pytest.mark.parametrize(
    ("name", "words"),
    [("fails", "fails on 'abc': ZeroDivisionError"), ("listed", "must return a text, a number")],
)
def test_a_function_that_gives_no_answer_is_one_sentence(name: str, words: str) -> None:
    answers = answers_function(f"tests.rewards.test_final_answer:{name}", "evaluate.answer")
    with pytest.raises(RewardError, match=words):
        answers(["abc"])


def test_a_function_that_is_not_there_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"evaluate.answer: .* has no 'lenght'.*'length'"):
        answers_function("tests.rewards.test_final_answer:lenght", "evaluate.answer")


def length(text: str) -> int:
    return len(text)


def fails(text: str) -> Any:
    return 1 // 0


def listed(text: str) -> Any:
    return [text]
