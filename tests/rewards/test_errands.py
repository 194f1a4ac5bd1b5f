"""Rewards of conversations with a calculator and a table of prices."""

from __future__ import annotations

from typing import Any

import pytest

from rvpo.rewards.errands import few_turns, formatted, solved

CALL = '<tool_call>\n{"name": "calculator", "arguments": {"expression": "2 * 3"}}\n</tool_call>'

FAILED = CALL.replace("2 * 3", "2 *")


def episode(*said: str) -> list[dict[str, Any]]:
    """Turns of the policy, and a tool's between two of them."""
    told = [
        [{"role": "assistant", "content": text}, {"role": "tool", "content": "6"}] for text in said
    ]
    return [message for pair in told for message in pair][:-1]


@pytest.mark.parametrize(
    ("said", "scores"),
    [
        ((CALL, "Answer: 6"), (1, 1, 1)),
        ((CALL, "Answer: 7"), (0, 1, 1)),
        ((CALL, "It is 6."), (0, 0.5, 0)),
        (("Answer: 6",), (1, 1, 1)),
        ((f"Let me see. {CALL}", "Answer: 6\n"), (1, 0.5, 1)),
        ((CALL, CALL, "Answer: 6"), (1, 1, 0)),
        ((CALL, CALL, CALL), (0, 2 / 3, 0)),
        (("<tool_call>\n{no JSON}\n</tool_call>", "Answer: 6"), (1, 0.5, 1)),
        (("<tool_call>\n[1]\n</tool_call>", "Answer: 60"), (0, 0.5, 1)),
        (("<tool_call>\n{}\n</tool_call>", "Answer: 6"), (1, 0.5, 1)),
        ((CALL, "Answer: 6,5"), (0, 0.5, 0)),
        ((CALL, "Answer: 6.5.1"), (0, 0.5, 0)),
        ((CALL, "Answer: 6."), (1, 0.5, 1)),
        (("",), (0, 0, 0)),
        ((f"{CALL}\n{CALL}", "Answer: 6"), (1, 1, 1)),
        ((f"{CALL}\n{{}}\n{CALL}", "Answer: 6"), (1, 0.5, 1)),
        ((FAILED, CALL, "Answer: 6"), (1, 1, 0)),
        ((CALL, "Answer: 6.0"), (1, 1, 1)),
        ((CALL, "Answer: 6.5"), (0, 1, 1)),
        ((CALL, "Answer: 6,000"), (0, 1, 1)),
        ((CALL, "Answer: 7, or Answer: 6, I think"), (1, 0.5, 1)),
    ],
)
def test_each_reward_looks_at_its_own(said: tuple[str, ...], scores: tuple[float, ...]) -> None:
    completions = [episode(*said)]
    found = (
        *solved(completions, answer=[6]),
        *formatted(completions),
        *few_turns(completions),
    )
    assert found == pytest.approx(scores)


@pytest.mark.parametrize(
    ("right", "said"),
    [
        (1344, "1,344"),
        (1344, "1344.00"),
        (2.5, "2.5"),
        ("2.50", "2.5"),
        (-3, "-3"),
        (1e16, f"1{16 * '0'}"),
        (1e-5, "0.00001"),
    ],
)
def test_a_number_is_right_however_it_is_written(right: Any, said: str) -> None:
    assert solved([episode(CALL, f"Answer: {said}")], answer=[right]) == [1.0]
    assert solved([episode(CALL, f"Answer: {said}1")], answer=[right]) == [0.0]


def test_a_last_turn_that_calls_a_tool_is_no_answer() -> None:
    """As of an episode that is out of turns, whose last results the policy never saw."""
    *before, last = episode(CALL, f"{CALL}\nAnswer: 6")
    out_of_turns = [*before, {**last, "tool_calls": [{"function": {"name": "calculator"}}]}]
    assert solved([out_of_turns], answer=[6]) == few_turns([out_of_turns]) == [0.0]


def test_more_turns_may_be_few() -> None:
    assert few_turns([episode(CALL, CALL, "Answer: 6")], most=3) == [1.0]
