"""Rewards of conversations with tools, for `rvpo.data.errands`: solved, formatted, in few turns.

They suit other tools too, where the answer is a number behind `Answer:` and the policy writes calls
as Hermes and Qwen do. A last turn that calls a tool is no answer.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from decimal import Decimal
from typing import Any

from rvpo.calls import named, parsed
from rvpo.rewards.final_answer import final_answer
from rvpo.types import Message

_ANSWER = re.compile(r"Answer: (-?\d+(?:,\d{3})*(?:\.\d+)?)(?![.,]?\d)")
_CALL = re.compile(r"<tool_call>\n(.*?)\n</tool_call>", re.DOTALL)


def solved(
    completions: Sequence[Sequence[Message]], answer: Sequence[float], **columns: Any
) -> list[float]:
    """1 where the last turn has the right number behind `Answer:`, else 0."""
    return [
        float(_answered(said) is not None and _answered(said) == final_answer(_written(right)))
        for said, right in zip(completions, answer, strict=True)
    ]


def formatted(completions: Sequence[Sequence[Message]], **columns: Any) -> list[float]:
    """Share of the policy's turns that are in form: each but the last one a call, or several, and
    nothing else, and the last one an answer line."""
    return [
        _in_form([m["content"] for m in said if m["role"] == "assistant"]) for said in completions
    ]


def few_turns(
    completions: Sequence[Sequence[Message]], most: int = 2, **columns: Any
) -> list[float]:
    """1 where there is an answer within so many turns of the policy, else 0.

    Args:
        completions: the episodes.
        most: 2 for one call and the answer; 1 more for each call that needs the result of another.
    """
    return [
        float(
            _answered(said) is not None
            and sum(message["role"] == "assistant" for message in said) <= most
        )
        for said in completions
    ]


def _answered(said: Sequence[Message]) -> str | None:
    """The number that the last turn answers with, however it is written; None where there is none,
    or where it calls a tool."""
    numbers = [] if said[-1].get("tool_calls") else _ANSWER.findall(said[-1]["content"])
    return final_answer(numbers[-1]) if numbers else None


def _written(number: float) -> str:
    """All digits of a number, which Python shortens where there are many."""
    return f"{Decimal(str(number)):f}"


def _in_form(turns: Sequence[str]) -> float:
    calls = sum(_is_call(text) for text in turns[:-1])
    return (calls + (_ANSWER.fullmatch(turns[-1].strip()) is not None)) / len(turns)


def _is_call(text: str) -> bool:
    calls = _CALL.findall(text)
    is_alone = not _CALL.sub("", text).strip()
    return bool(calls) and is_alone and all(named(parsed(call)) is not None for call in calls)
