"""Rewards of conversations with tools, for `rvpo.data.errands`: solved, formatted, in few turns."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from typing import Any

from rvpo.types import Message

_ANSWER = re.compile(r"Answer: (-?\d+)")
_CALL = re.compile(r"<tool_call>\n(.*)\n</tool_call>", re.DOTALL)


def solved(
    completions: Sequence[Sequence[Message]], answer: Sequence[int], **columns: Any
) -> list[float]:
    """1 where the last turn has the right number behind `Answer:`, else 0."""
    return [
        float(_ANSWER.findall(said[-1]["content"])[-1:] == [str(right)])
        for said, right in zip(completions, answer, strict=True)
    ]


def formatted(completions: Sequence[Sequence[Message]], **columns: Any) -> list[float]:
    """Share of the policy's turns that are in form: each but the last one a call and nothing else,
    and the last one an answer line."""
    return [
        _in_form([m["content"] for m in said if m["role"] == "assistant"]) for said in completions
    ]


def few_turns(
    completions: Sequence[Sequence[Message]], most: int = 2, **columns: Any
) -> list[float]:
    """1 where there is an answer within so many turns of the policy, else 0."""
    return [
        float(
            _ANSWER.search(said[-1]["content"]) is not None
            and sum(message["role"] == "assistant" for message in said) <= most
        )
        for said in completions
    ]


def _in_form(turns: Sequence[str]) -> float:
    calls = sum(_is_call(text) for text in turns[:-1])
    return (calls + (_ANSWER.fullmatch(turns[-1].strip()) is not None)) / len(turns)


def _is_call(text: str) -> bool:
    found = _CALL.fullmatch(text.strip())
    try:
        return found is not None and isinstance(json.loads(found[1]), dict)
    except (ValueError, RecursionError):
        return False
