"""Each instruction of IFEval is checked as its text says."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rvpo.rewards.ifeval import followed
from rvpo.rewards.ifeval.aliases import ALIASES
from rvpo.rewards.ifeval.instructions import CHECKS
from rvpo.rewards.ifeval.rows import Instruction, instructions_of
from rvpo.rewards.ifeval.text import sentences
from rvpo.types import Failed

ENGLISH = "the weather is lovely today and we should go for a long walk"
CASES: list[tuple[str, dict[str, Any], str, str]] = [
    ("keywords:existence", {"keywords": ["Sun", "c++"]}, "sun in C++", "sun in C"),
    (
        "keywords:frequency",
        {"keyword": "go", "frequency": 2, "relation": "at least"},
        "Go go",
        "go",
    ),
    (
        "keywords:frequency",
        {"keyword": "go", "frequency": 2, "relation": "less than"},
        "go",
        "go go",
    ),
    ("keywords:frequency", {"keyword": "go", "frequency": 1}, "go", "go go"),
    ("keywords:forbidden_words", {"forbidden_words": ["art"]}, "a party", "Art is long"),
    (
        "keywords:letter_frequency",
        {"letter": "a", "let_frequency": 3, "let_relation": "at least"},
        "Banana",
        "bana",
    ),
    (
        "language:response_language",
        {"language": "de"},
        "Das Wetter ist heute wirklich schön und warm",
        ENGLISH,
    ),
    (
        "length_constraints:number_sentences",
        {"num_sentences": 3, "relation": "less than"},
        "Dr. Who came. He left!",
        "One. Two. Three.",
    ),
    ("length_constraints:number_paragraphs", {"num_paragraphs": 2}, "a\n***\nb", "a\n\nb"),
    ("length_constraints:number_paragraphs", {"num_paragraphs": 2}, "a\n* * *\nb", "a***\n***b"),
    (
        "length_constraints:number_words",
        {"num_words": 3, "relation": "at least"},
        "one two three",
        "one two",
    ),
    (
        "length_constraints:number_words",
        {"num_words": 20, "relation": "around"},
        "a " * 22,
        "a " * 23,
    ),
    (
        "length_constraints:nth_paragraph_first_word",
        {"num_paragraphs": 2, "nth_paragraph": 2, "first_word": "president"},
        'a\n\n"President, hello"',
        "president\n\na",
    ),
    (
        "length_constraints:nth_paragraph_first_word",
        {"num_paragraphs": 2, "nth_paragraph": 3, "first_word": "a"},
        "",
        "a\n\na",
    ),
    ("detectable_content:number_placeholders", {"num_placeholders": 2}, "[a] [b c]", "[a] []"),
    ("detectable_content:postscript", {"postscript_marker": "P.S."}, "a\nP.S. b", "a P.S. b"),
    ("detectable_content:postscript", {"postscript_marker": "P.P.S"}, "a\nP.P.S b", "a\nP.S. b"),
    ("detectable_format:number_bullet_lists", {"num_bullets": 2}, "* a\n- b", "* a\n**b**"),
    ("detectable_format:constrained_response", {}, "My answer is no.", "No."),
    ("detectable_format:number_highlighted_sections", {"num_highlights": 2}, "*a* **b**", "*a* **"),
    (
        "detectable_format:multiple_sections",
        {"section_spliter": "Section", "num_sections": 2},
        "Section 1\na\nSection 2\nb",
        "Section 1\na Section b",
    ),
    ("detectable_format:json_format", {}, '```json\n{"a": 1}\n```', "{'a': 1}"),
    ("detectable_format:title", {}, "<<joy>>\na", "<< >>"),
    ("combination:two_responses", {}, "a\n******\nb", "a\n******\na"),
    ("combination:repeat_prompt", {"prompt_to_repeat": "Say hi."}, "say hi.\nhi", "hi"),
    ("startend:end_checker", {"end_phrase": "Is that all?"}, 'a is that all?"', "Is that all? a"),
    ("startend:quotation", {}, '"a"', '"a'),
    (
        "change_case:capital_word_frequency",
        {"capital_frequency": 2, "capital_relation": "at least"},
        "STOP NOW please",
        "STOP Now",
    ),
    ("change_case:english_capital", {}, ENGLISH.upper(), ENGLISH),
    ("change_case:english_lowercase", {}, ENGLISH, ENGLISH.title()),
    ("punctuation:no_comma", {}, "a b", "a, b"),
]


@pytest.mark.parametrize(("name", "arguments", "good", "bad"), CASES)
def test_an_instruction_tells_texts_that_follow_it_from_others(
    name: str, arguments: dict[str, Any], good: str, bad: str
) -> None:
    (instruction,) = instructions_of([name], [arguments])
    assert not good or instruction.followed(good)
    assert not instruction.followed(bad)


def test_every_instruction_of_the_paper_is_here() -> None:
    assert len(CHECKS) == 25
    assert {name for name, *_ in CASES} == set(CHECKS)
    assert {name for name, _ in ALIASES.values()} == set(CHECKS)


WORDS = {"num_words": 5, "relation": "at most"}


@pytest.mark.parametrize(
    ("cell", "arguments"),
    [
        (["length_constraints:number_words"], [WORDS]),
        (["length_constraints:number_words"], [{**WORDS, "keyword": None}]),
        (json.dumps(["length_constraints:number_words"]), json.dumps([WORDS])),
        ({"instruction_id": ["length_constraints:number_words"], "kwargs": [WORDS]}, None),
        (str([{"instruction_id": ["length_constraints:number_words"], "kwargs": [WORDS]}]), None),
        ({"instruction_id_list": ["length_constraints:number_words"], "kwargs": [WORDS]}, None),
        (
            json.dumps({"func_name": "validate_word_constraint", "N": 5, "quantifier": "at most"}),
            None,
        ),
        (
            {
                "func_name": "validate_word_constraint",
                "N": 5,
                "quantifier": "at most",
                "word": None,
            },
            None,
        ),
    ],
)
def test_every_published_shape_is_read(cell: Any, arguments: Any) -> None:
    expected = Instruction("length_constraints:number_words", WORDS)
    assert instructions_of(cell, arguments) == [expected]


def test_a_share_or_all_of_the_instructions_count() -> None:
    names = [["punctuation:no_comma", "detectable_format:title"]] * 2
    texts = ["<<a>>, b", "<<a>> b"]
    assert followed(texts, instruction_id_list=names) == [0.5, 1.0]
    assert followed(texts, instruction_id_list=names, score="all") == [0.0, 1.0]


def test_an_empty_answer_follows_nothing() -> None:
    assert followed(["  "], instruction_id_list=[["punctuation:no_comma"]]) == [0.0]


def test_loose_accuracy_forgives_a_first_line() -> None:
    names = [["startend:quotation"]]
    text = ['Here it is:\n"a"']
    assert followed(text, instruction_id_list=names) == [0.0]
    assert followed(text, instruction_id_list=names, loose=True) == [1.0]


@pytest.mark.parametrize(
    ("names", "arguments", "reason"),
    [
        (["count:words_of_a_kind"], None, "is not one of IFEval's 25"),
        (["keywords:existence"], [{}], "needs keywords"),
        (["punctuation:no_comma"], [{}, {}], "1 instructions have 2 sets of arguments"),
        ([{"a": 1}], None, "this has a"),
        (5, None, "a int names no instructions"),
        (
            ["keywords:frequency"],
            [{"keyword": "a", "frequency": 1, "relation": "roughly"}],
            "'roughly' is no relation",
        ),
    ],
)
def test_what_is_not_known_is_a_missing_score(names: Any, arguments: Any, reason: str) -> None:
    (score,) = followed(["a"], instruction_id_list=[names], kwargs=[arguments])
    assert isinstance(score, Failed)
    assert reason in score.reason


@pytest.mark.parametrize("nothing", [None, [], "[]"])
def test_a_row_without_instructions_has_no_score(nothing: Any) -> None:
    assert followed(["a"], instruction_id_list=[nothing]) == [None]


@settings(deadline=None, max_examples=50)
@given(st.lists(st.sampled_from(["One", "Two words", "He said 3.5"]), min_size=1, max_size=6))
def test_sentences_are_counted(parts: list[str]) -> None:
    assert len(sentences(". ".join(parts) + ".")) == len(parts)
    assert len(sentences("!\n".join(parts) + "!")) == len(parts)


@settings(deadline=None, max_examples=15)
@given(st.text(max_size=60))
def test_every_text_has_a_verdict(text: str) -> None:
    for name, arguments, *_ in CASES:
        assert instructions_of([name], [arguments])[0].followed(text) in (True, False)


@pytest.mark.parametrize("text", ["", "a b", "*** a *** b ***", "A, b.\n\nC d."])
@pytest.mark.parametrize(
    ("name", "arguments"),
    [
        ("punctuation:no_comma", ["x"]),
        ("punctuation:no_comma", [["x"]]),
        ("punctuation:no_comma", 5),
        ("length_constraints:number_words", [{"num_words": float("inf")}]),
        ("length_constraints:number_words", [{"num_words": float("nan")}]),
        ("length_constraints:number_words", [{"num_words": 3, "relation": "near"}]),
        ("length_constraints:number_paragraphs", [{"num_paragraphs": "many"}]),
        (
            "length_constraints:nth_paragraph_first_word",
            [{"num_paragraphs": 2, "nth_paragraph": "last", "first_word": "c"}],
        ),
        ("keywords:existence", [{"keywords": 3}]),
    ],
)
def test_a_row_with_wrong_arguments_fails_whatever_the_answer(
    name: str, arguments: Any, text: str
) -> None:
    (score,) = followed([text], instruction_id_list=[[name]], kwargs=[arguments])
    assert isinstance(score, Failed)


def test_no_text_costs_the_square_of_its_length() -> None:
    many = 50_000
    assert sentences("." * many + "x") == ["." * many + "x"]
    assert len(sentences("A. " * many)) == 1
    assert not CHECKS["detectable_format:title"]("<<" * many)
    assert not CHECKS["detectable_format:number_bullet_lists"]("\n" * many, num_bullets=1)
    assert not CHECKS["detectable_content:postscript"]("\n" * many, postscript_marker="P.S.")
    assert not CHECKS["detectable_format:json_format"]("```" + "\n" * many + "x")


def test_half_a_surrogate_ends_nothing() -> None:
    name = "change_case:english_lowercase"
    assert followed([f"{ENGLISH} \ud800"], instruction_id_list=[[name]]) == [1.0]
