"""The quickstart's problems are solvable, apart from each other, and scored as they say."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rvpo.data.arithmetic import problems
from rvpo.rewards.arithmetic import brief, correct, formatted

Row = dict[str, object]


def question(row: Row) -> str:
    return row["prompt"][-1]["content"]


def sum_of(row: Row) -> str:
    """A problem without its names and things: its kind and its numbers."""
    return re.sub(
        r"\b(?!has|more|loses|bags|finds|left|How|many|are|and|of)[A-Za-z]+", "_", question(row)
    )


def test_same_seed_gives_the_same_problems() -> None:
    assert problems(50, 3) == problems(50, 3)
    assert problems(50, 3) != problems(50, 4)


def test_list_repeats_no_question() -> None:
    rows = problems(2000, 0)
    assert len({question(row) for row in rows}) == len({row["id"] for row in rows}) == 2000


@given(st.integers(0, 2**32), st.integers(0, 2**32))
def test_held_out_sums_are_never_trained_on(seed: int, other: int) -> None:
    train = {sum_of(row) for row in problems(200, seed)}
    held_out = {sum_of(row) for row in problems(200, other, part="held_out")}
    assert not train & held_out


def test_answers_are_small_and_positive() -> None:
    answers = [row["answer"] for row in problems(2000, 0)]
    assert min(answers) >= 1
    assert max(answers) <= 36
    assert all(type(answer) is int for answer in answers)


def test_chat_shows_the_way_and_ends_with_the_question() -> None:
    for row in problems(20, 0):
        assert [m["role"] for m in row["prompt"]] == ["system", "user", "assistant", "user"]


def test_worked_example_earns_every_reward() -> None:
    example = [problems(1, 0)[0]["prompt"][2]]
    assert correct([example], [8]) == formatted([example]) == brief([example]) == [1.0]


def test_right_answer_earns_every_reward() -> None:
    rows = problems(300, 1)
    answers = [row["answer"] for row in rows]
    texts = [f"Answer: {answer}" for answer in answers]
    assert correct(texts, answers) == formatted(texts) == brief(texts) == [1.0] * 300


@pytest.mark.parametrize("count", [0, 10_001])
def test_count_out_of_range_is_refused(count: int) -> None:
    with pytest.raises(ValueError, match="count must be from 1 to 10000"):
        problems(count, 0)


def test_unknown_part_is_refused() -> None:
    with pytest.raises(ValueError, match="part must be one of train, held_out, got 'test'"):
        problems(1, 0, part="test")


@pytest.mark.parametrize(
    ("text", "right"),
    [
        ("Answer: 12", True),
        ("3 * 4 = 12.", True),
        ("12 figs, that is 12", True),
        ("7-12", True),
        ("Answer: 12 or 13", False),
        ("1.12", False),
        ("12.0", False),
        ("-12", False),
        ("112", False),
        ("twelve", False),
        ("", False),
    ],
)
def test_last_number_decides_what_is_correct(text: str, right: bool) -> None:
    assert correct([text], [12]) == [float(right)]


@pytest.mark.parametrize(
    ("text", "good"),
    [
        ("3 * 4 = 12\nAnswer: 12", True),
        ("Answer: -3", True),
        ("Answer: 12\n", True),
        ("Answer: 12.", False),
        ("answer: 12", False),
        ("3 * 4 = 12 Answer: 12", False),
        ("Answer: 12\nI think.", False),
        ("Answer: <12>", False),
        ("", False),
        ("\n", False),
    ],
)
def test_last_line_decides_the_format(text: str, good: bool) -> None:
    assert formatted([text]) == [float(good)]


@pytest.mark.parametrize(("words", "good"), [(0, 0), (1, 1), (14, 1), (15, 0)])
def test_brief_means_one_to_fourteen_words(words: int, good: int) -> None:
    assert brief(["a " * words]) == [float(good)]
    assert brief([[{"role": "assistant", "content": "a " * words}]]) == [float(good)]


def test_limit_of_words_can_be_set() -> None:
    assert brief(["a b c"], max_words=2) == [0.0]


@given(st.text(), st.integers(-50, 50))
def test_every_text_gets_a_score(text: str, answer: int) -> None:
    for scores in (correct([text], [answer]), formatted([text]), brief([text])):
        assert scores in ([0.0], [1.0])
