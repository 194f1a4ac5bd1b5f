"""ToolRL's rules for tool calling exactly as published, quirks included.

Qian et al. 2025, arXiv:2504.13958, section 3.3, and the reward code published with it, rlla.py,
with none of its environment variables set. A ground truth and a completion are texts in which a
block of `<tool_call>` holds one JSON call a line. Where the paper and its code differ, these are
the code's rules; `rvpo.rewards.tool_calling` says what it does about them.
"""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

LOWEST, HIGHEST = -3.0, 3.0
"""Bounds of the correctness."""

_THINK = "<think>.*?</think>"
_CALL = r"\n<tool_call>\n.*?\n</tool_call>"
_RESPONSE = r"\n<response>.*?</response>"
_FORMS = {
    (): re.compile(_THINK, re.DOTALL),
    ("tool_call",): re.compile(_THINK + _CALL, re.DOTALL),
    ("response",): re.compile(_THINK + _RESPONSE, re.DOTALL),
    ("tool_call", "response"): re.compile(_THINK + _CALL + _RESPONSE, re.DOTALL),
}


def format_score(text: str, truth: str) -> float:
    """1 where a stripped completion has the form of the ground truth, else 0.

    The ground truth decides which blocks there must be. Each of them stands once; `<think>` is not
    counted.
    """
    wanted = tuple(tag for tag in ("tool_call", "response") if f"<{tag}>" in truth)
    once = all(text.count(f"<{tag}>") == 1 == text.count(f"</{tag}>") for tag in wanted)
    return float(once and _FORMS[wanted].fullmatch(text) is not None)


def correctness_score(texts: Sequence[str], wanted: Sequence[Mapping[str, Any]] | None) -> float:
    """Likeness of a completion's calls and those wanted, from -3 to 3.

    Args:
        texts: the completion; of an episode, which the published code does not know, the turns
            that are read. One without a call may stand among others.
        wanted: the calls of the ground truth; None, which has no block of calls, gives 0 for any
            completion.

    The first block is read, even inside a thought. Anything in it that is no call, a blank line
    too, gives -3. Values are equal as in Python, where 1, 1.0 and True are. Calls beyond those
    wanted cost nothing but the likeness of the names.
    """
    if wanted is None:
        return 0.0
    try:
        calling = [text for text in texts if "<tool_call>" in text] or texts
        return _likeness([call for text in calling for call in first_block(text)], wanted)
    except (ValueError, RecursionError):  # no calls, or JSON nested too deep to read or compare
        return LOWEST


def first_block(text: str) -> list[Any]:
    """The JSON values, one a line, of the first `<tool_call>` block.

    Raises:
        ValueError: there is no block, or a line of it is no JSON.
        RecursionError: the JSON is nested too deep.
    """
    if "<tool_call>" not in text or "</tool_call>" not in text:
        raise ValueError("there is no block of tool calls")
    block = text.split("<tool_call>")[1].split("</tool_call>")[0]
    return [json.loads(line) for line in block.strip().split("\n")]


def jaccard(first: Iterable[Any], second: Iterable[Any]) -> float:
    """Size of the intersection of two multisets over that of their union; 1 if both are empty."""
    # Of a table Counter would take the values for counts; its keys are meant.
    one, other = Counter(iter(first)), Counter(iter(second))
    union = (one | other).total()
    return (one & other).total() / union if union else 1.0


def _likeness(predicted: list[Any], wanted: Sequence[Mapping[str, Any]]) -> float:
    if predicted == wanted:
        return HIGHEST
    names = [_name(call) for call in predicted]
    score = jaccard([call["name"] for call in wanted], names)
    free = list(range(len(predicted)))
    for call in wanted:
        gains = {i: _gain(call, predicted[i]) for i in free if names[i] == call["name"]}
        best = max(gains, key=lambda i: gains[i], default=None)  # the first of equals
        if best is not None and gains[best] > 0:
            free.remove(best)
            score += gains[best]
    most = 1.0 + sum(1.0 + len(call["parameters"]) for call in wanted)
    return (HIGHEST - LOWEST) * score / most + LOWEST


def _gain(wanted: Mapping[str, Any], predicted: Mapping[str, Any]) -> float:
    """Likeness of two calls of the same name: at most 1 plus the number of parameters."""
    right, given = wanted["parameters"], predicted.get("parameters")
    if not isinstance(given, dict):
        raise ValueError("a call needs a table of parameters")
    equal = sum(1.0 for name, value in right.items() if name in given and given[name] == value)
    return jaccard(right, given) + equal


def _name(call: Any) -> Any:
    if not isinstance(call, dict) or "name" not in call:
        raise ValueError("a call needs a name")
    if isinstance(call["name"], dict | list):
        raise ValueError("a name cannot be a table or a list")
    return call["name"]
