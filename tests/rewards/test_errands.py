"""Rewards of conversations with a calculator and a table of prices."""

from __future__ import annotations

from typing import Any

import pytest

from rvpo.rewards.errands import few_turns, formatted, solved

CALL = '<tool_call>\n{"name": "calculator", "arguments": {"expression": "2 * 3"}}\n</tool_call>'


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
        (("",), (0, 0, 0)),
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


def test_more_turns_may_be_few() -> None:
    assert few_turns([episode(CALL, CALL, "Answer: 6")], most=3) == [1.0]
