"""A survey counts what the rows of a source hold, and finds what they ask twice."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rvpo.data.histogram import Lengths
from rvpo.data.survey import ColumnSurvey, Survey, in_both, shortened
from tests.fakes import make_prompt

LENGTHS = st.lists(st.integers(0, 10**6) | st.integers(0, 20), min_size=1, max_size=300)


@given(LENGTHS)
def test_every_prompt_is_in_one_bin_of_the_histogram(lengths: list[int]) -> None:
    found = Lengths.of(lengths, "tokens")
    assert sum(each.count for each in found.bins) == len(lengths) == found.counted
    for each in found.bins:
        end = max(lengths) + 1 if each.end is None else each.end
        assert each.count == sum(each.start <= length < end for length in lengths)
    ends = [
        (each.end, after.start) for each, after in zip(found.bins, found.bins[1:], strict=False)
    ]
    assert all(end == start for end, start in ends)
    assert len(found.bins) <= 14
    assert min(found.bins[0].count, found.bins[-1].count) > 0


@given(LENGTHS)
def test_the_numbers_of_lengths_follow_their_definitions(lengths: list[int]) -> None:
    found = Lengths.of(lengths, "words")
    within = [length for length in lengths if length <= found.most]
    shorter = [length for length in lengths if length < found.most]
    assert len(within) >= 0.95 * len(lengths) > len(shorter)
    assert found.shortest == min(lengths) <= found.median <= found.longest == max(lengths)
    assert found.mean == pytest.approx(sum(lengths) / len(lengths))


def test_a_few_long_prompts_do_not_hide_the_others() -> None:
    found = Lengths.of([*range(100, 300), 10**6], "tokens")
    assert len(found.bins) > 9
    assert (found.bins[-1].end, found.bins[-1].count) == (None, 1)


def test_no_lengths_are_no_lengths() -> None:
    with pytest.raises(ValueError, match="there are no lengths"):
        Lengths.of([], "tokens")


def test_a_survey_counts_messages_tools_and_columns() -> None:
    chat = [{"role": r, "content": "a"} for r in ("system", "user", "assistant", "user")]
    tool = {"type": "function", "function": {"name": "f"}}
    found = Survey.of(
        [
            make_prompt("0", "One?", answer=1, hint=None, tags=["x"]),
            replace(make_prompt("1", answer="two", hint=None), messages=tuple(chat), tools=(tool,)),
            make_prompt("2", "Two?", answer=2.5, hint=None, tags={"y": 1}),
        ]
    )
    assert found.prompts == 3
    assert found.roles == {"user": 4, "system": 1, "assistant": 1}
    assert (found.several_turns, found.with_tools) == (1, 1)
    assert found.columns == (
        ColumnSurvey(name="answer", filled=3, types=("number", "text"), example="1"),
        ColumnSurvey(name="hint", filled=0, types=(), example=""),
        ColumnSurvey(name="tags", filled=2, types=("list", "table"), example="['x']"),
    )


def test_prompts_that_ask_the_same_are_found_in_a_source_and_between_two() -> None:
    train = [make_prompt("a", "What is 2 + 2?"), make_prompt("b", "And 3?")]
    train += [make_prompt("c", " what is  2 + 2 "), make_prompt("d", "What is 2 + 2?")]
    repeated = Survey.of(train).repeated
    assert (repeated.count, repeated.named) == (2, (("c", "a"), ("d", "a")))
    held_out = [make_prompt("x", "WHAT IS 2 + 2"), make_prompt("y", "Something else?")]
    shared = in_both(train, held_out)
    assert (shared.count, shared.named) == (1, (("x", "a"),))
    assert in_both(train, held_out[1:]).count == 0


def test_a_long_value_is_shortened_to_one_line() -> None:
    assert shortened("a\n  b") == "a b"
    assert len(shortened("word " * 100)) == len(shortened({"a": "b" * 200})) == 80
