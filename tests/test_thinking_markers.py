"""Which of several markers ends a thought."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rvpo.thinking import NO_MODEL, Thinking
from tests.test_thinking import MARKERS, everywhere

words = st.text(alphabet="abc .\n", max_size=20).map(str.strip).filter(bool)


@given(st.recursive(words, lambda inner: st.lists(inner, min_size=1, max_size=4), max_leaves=9))
@pytest.mark.parametrize(("opening", "closing"), MARKERS)
@everywhere
def test_no_answer_begins_before_all_that_was_opened_is_closed(
    opening: str, closing: str, tree: Any
) -> None:
    def written(node: Any) -> str:
        if isinstance(node, str):
            return node
        return f"{opening}{''.join(map(written, node))}{closing}"

    thought = f"{opening}So. {written(tree)}{closing}"
    assert NO_MODEL.split(f"{thought}Sleep.").answer == "Sleep."
    assert NO_MODEL.split(f"{thought}{closing}\n{closing}\n\nSleep.").answer == "Sleep."
    assert NO_MODEL.split(f"{opening}So.{thought}Sleep.").answer == ""


@given(
    inside=st.lists(st.sampled_from(["<think>", "</think>"]), max_size=9),
    word=st.sampled_from(["a", "A.", "a b, c"]),
)
@everywhere
def test_an_answer_begins_behind_the_closing_marker_that_balances(
    inside: list[str], word: str
) -> None:
    depths = [1]
    for marker in inside:
        depths.append(depths[-1] + (1 if marker == "<think>" else -1))
    text = word + "".join(marker + word for marker in inside)
    answer = NO_MODEL.split(f"<think>{text}").answer
    left = inside[depths.index(0) :] if 0 in depths else None
    assert answer == ("" if left is None else word + "".join(marker + word for marker in left))


@pytest.mark.parametrize(
    ("text", "answer"),
    [
        ("<think>the user wrote </think> so</think>Sleep.", "Sleep."),
        ("<think>I use <think> to think.</think>Sleep.", "Sleep."),
        ("<think>I write <think> ... </think> tags.</think>Sleep.", "Sleep."),
        ("<think>it is </think> rest, and </think> sleep.", "sleep."),
        ("<think>it is </think> rest. Write <think>x</think>.", "rest. Write <think>x</think>."),
        ("<think>So.\n</think>\n\nWait, rest?\n</think>\n\nSleep.", "Sleep."),
        ("<think>So.</think>\n```\n</think>\n```", "```\n</think>\n```"),
        ("<think>So.</think>End it with </think> and sleep.", "End it with </think> and sleep."),
        ("<think>So.</think >Sleep.", "Sleep."),
        ("<think>So.<think>Rest.</think> and rest", ""),
    ],
)
def test_a_marker_within_a_sentence_is_a_word_of_it(text: str, answer: str) -> None:
    assert NO_MODEL.split(text).answer == answer


def test_a_lone_marker_within_a_sentence_ends_no_thought() -> None:
    text = "The tag </think> closes a thought."
    assert NO_MODEL.split_alone(text).answer == text


@pytest.mark.parametrize(
    ("begin", "end"),
    [
        ("<|START_RESPONSE|>", "<|END_RESPONSE|>"),
        ("<|begin_of_solution|>", "<|end_of_solution|>"),
        ("<|START_TEXT|>", "<|END_TEXT|>"),
    ],
)
def test_markers_around_an_answer_are_none_of_it(begin: str, end: str) -> None:
    for thought in ("", "<|START_THINKING|>So.<|END_THINKING|>"):
        assert NO_MODEL.split(f"{thought}{begin}\nSleep.\n{end}").answer == "Sleep."
        assert NO_MODEL.split(f"{thought}{begin}Sleep").answer == "Sleep"
        assert NO_MODEL.split(f"{thought}Write {begin} first.").answer == f"Write {begin} first."


def test_a_completion_that_goes_on_beginning_thoughts_has_no_answer() -> None:
    block = "<think></think>"
    assert NO_MODEL.split(block * 64 + "Rest").answer == "Rest"
    assert NO_MODEL.split(block * 20_000 + "Rest").answer == ""


OWN = [("<mull>", "</mull>"), ("Plan:", "Reply:"), ("((", "))"), ("§", "¶")]


@pytest.mark.parametrize("pair", OWN)
@given(thought=words, answer=words, space=st.sampled_from(["", "\n", "\n\n"]))
@everywhere
def test_markers_that_the_settings_name_split_as_others_do(
    pair: tuple[str, str], thought: str, answer: str, space: str
) -> None:
    opening, end = pair
    thinking = Thinking.of([], pair)
    text = f"{thought}\n{end}\n{answer}"
    for parts in (
        thinking.split(f"{opening}{text}"),
        thinking.split(text, thinking.opened_by(f"user: hi\nassistant: {opening}{space}")),
        thinking.split_alone(text),
        thinking.split_alone(f"{opening}{text}"),
    ):
        assert (parts.thought, parts.answer) == (thought.strip(), answer)
    assert thinking.split(f"{opening}{thought}").answer == ""
    assert thinking.split("<think>So.</think>Sleep.").answer == "Sleep."


def test_what_the_settings_name_comes_before_what_a_template_shows() -> None:
    shows = ["{{ '<think>' + thought + '</think>' }}"]
    assert Thinking.of(shows, ("<mull>", "</mull>")).pairs == (
        ("<mull>", "</mull>"),
        ("<think>", "</think>"),
    )
    assert Thinking.of(shows, ("<think>", "Reply:")).pairs == (("<think>", "Reply:"),)
