"""Rewards for tool calling: the right form, and the right calls.

A completion thinks, then calls tools, answers, or both; a call is one line of JSON:

    <think> … </think>
    <tool_call>
    {"name": "weather", "parameters": {"city": "Oslo"}}
    </tool_call>
    <response> … </response>

Of an episode the policy's last turn is read; with `turns: every` all of its turns, of which each is
to have the right form, and whose calls together are to be those wanted.

Both functions have TRL's signature. The right answer, a text of the same form, is read from the
column `reward_model`, a table with `ground_truth` as in ToolRL's own files, or from a plain column
`ground_truth`. No completion makes them raise, whatever a model wrote; a broken ground truth does.
Both are shown everything, thoughts too.

`mode: toolrl` scores exactly as ToolRL's code does (`rvpo.rewards.toolrl`, arXiv:2504.13958).
`mode: mended` changes what of it is an accident:

- The form is the one that ToolRL's system prompt asks for, whichever blocks the ground truth has:
  a thought, then calls, a response, or both, each once. Blank space between them is free. A block
  of calls is not empty, and a response names no tags. Whether to call a tool at all is left to
  correctness.
- A thought may name the tags, and is not searched for calls; a value inside a call may name those
  of a thought. All blocks outside of thoughts count; blank lines do not.
- Values are equal as in JSON: 1 is 1.0, and neither is true.
- Wanted and predicted calls are paired so that the score is highest, instead of one by one.
- Every call beyond the number wanted adds 1 to what could have been reached, so it costs something.
- Where no call is wanted, an answer without calls scores 3. Calling anything scores -3, and so does
  no answer: nothing outside of thoughts, or a thought that is cut off. The published constant 0
  teaches nothing there, and "not applicable" for those who rightly call nothing would leave those
  who call with nobody to be compared with.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping, Sequence
from statistics import fmean
from typing import Any, Literal, NoReturn, get_args

from scipy.optimize import linear_sum_assignment

from rvpo.errors import ConfigError, DataError
from rvpo.rewards import toolrl
from rvpo.rewards.completion import Completion, bounded, shown, texts_of
from rvpo.rewards.toolrl import HIGHEST, LOWEST, jaccard

Mode = Literal["toolrl", "mended"]
WhichTurns = Literal["last", "every"]
"""Turns of the policy that are read."""
CallObject = Mapping[str, Any]
"""A mapping with a string `name` and a mapping `parameters`."""

# Whichever opens first: a thought may name the tag of a block, and a value that of a thought.
_PART = re.compile(
    r"<think>.*?(?P<end></think>|\Z)|<tool_call>(?P<block>.*?)(?P<closed></tool_call>|\Z)",
    re.DOTALL,
)
_FORM = re.compile(
    r"<think>(?:(?!</think>).)*</think>\s*+"
    r"(?P<block><tool_call>(?!\s*</tool_call>)(?:(?!</?tool_call>).)*</tool_call>)?\s*+"
    r"(?P<reply><response>(?:(?!</?(?:think|tool_call|response)>).)*</response>)?",
    re.DOTALL,
)


@shown("everything")
def format(
    completions: Sequence[Completion],
    reward_model: Sequence[Any] | None = None,
    ground_truth: Sequence[Any] | None = None,
    mode: Mode = "toolrl",
    turns: WhichTurns = "last",
    **columns: Any,
) -> list[float]:
    """1 where a completion has the right form, else 0; of several turns the share that has it.

    Raises:
        ConfigError: there is no such mode, or no such choice of turns.
        DataError: there is no ground truth, or it cannot be read.
    """
    _check(mode, turns)
    read = [_read(completion, turns) for completion in completions]
    if mode == "mended":
        return [fmean(map(_mended_format, texts)) for texts in read]
    truths = _truths(reward_model, ground_truth)
    return [
        fmean(toolrl.format_score(text, truth) for text in texts)
        for texts, truth in zip(read, truths, strict=True)
    ]


@bounded(LOWEST, HIGHEST)
@shown("everything")
def correctness(
    completions: Sequence[Completion],
    reward_model: Sequence[Any] | None = None,
    ground_truth: Sequence[Any] | None = None,
    mode: Mode = "toolrl",
    turns: WhichTurns = "last",
    **columns: Any,
) -> list[float]:
    """Likeness of a completion's calls and the wanted ones, from -3 to 3.

    Raises:
        ConfigError: there is no such mode, or no such choice of turns.
        DataError: there is no ground truth, or it cannot be read.
    """
    _check(mode, turns)
    read, score = (
        (toolrl.first_block, toolrl.correctness_score)
        if mode == "toolrl"
        else (_calls, _mended_correctness)
    )
    wanted = [_wanted(truth, read) for truth in _truths(reward_model, ground_truth)]
    return [
        score(_read(completion, turns), calls)
        for completion, calls in zip(completions, wanted, strict=True)
    ]


def _read(completion: Completion, turns: WhichTurns) -> list[str]:
    """The turns that are read, at least one."""
    texts = [text.strip() for text in texts_of(completion)] or [""]
    return texts if turns == "every" else texts[-1:]


def _mended_format(text: str) -> float:
    form = _FORM.fullmatch(text)
    return float(form is not None and bool(form["block"] or form["reply"]))


def _mended_correctness(texts: Sequence[str], wanted: Sequence[CallObject] | None) -> float:
    try:
        predicted = [call for text in texts for call in _calls(text)]
        if not wanted:
            return LOWEST if predicted or not _answers(texts[-1]) else HIGHEST
        score = jaccard(_names(wanted), _names(predicted))
        gains = [[_gain(call, other) for other in predicted] for call in wanted]
    except (ValueError, RecursionError):  # no calls, or JSON nested too deep to read or compare
        return LOWEST
    if predicted:
        pairs = zip(*linear_sum_assignment(gains, maximize=True), strict=True)
        score += sum(gains[row][column] for row, column in pairs)
    most = 1.0 + sum(1.0 + len(call["parameters"]) for call in wanted)
    surplus = max(0, len(predicted) - len(wanted))
    return (HIGHEST - LOWEST) * score / (most + surplus) + LOWEST


def _calls(text: str) -> list[CallObject]:
    """Every call outside of thoughts.

    Raises:
        ValueError: a block is not closed, or a line of one is no call.
        RecursionError: a call is nested too deep.
    """
    parts = [part for part in _PART.finditer(text) if part["block"] is not None]
    if not all(part["closed"] for part in parts) or "</tool_call>" in _PART.sub("", text):
        raise ValueError("a block of tool calls is not opened or not closed")
    blocks = [part["block"] for part in parts]
    lines = [line for block in blocks for line in block.split("\n") if line.strip()]
    return [_call(json.loads(line, parse_constant=_refuse)) for line in lines]


def _answers(text: str) -> bool:
    """True where there is anything outside of thoughts, and no thought is cut off."""
    thoughts = [part for part in _PART.finditer(text) if part["block"] is None]
    said = _PART.sub(lambda part: "" if part["block"] is None else part[0], text)
    return bool(said.strip()) and all(thought["end"] for thought in thoughts)


def _call(value: Any) -> CallObject:
    if (
        not isinstance(value, dict)
        or not isinstance(value.get("name"), str)
        or not isinstance(value.get("parameters"), dict)
    ):
        raise ValueError("a call is a table with a text `name` and a table `parameters`")
    return value


def _refuse(constant: str) -> NoReturn:
    raise ValueError(f"{constant} is no JSON")


def _names(calls: Sequence[CallObject]) -> list[str]:
    return [call["name"] for call in calls]


def _gain(wanted: CallObject, predicted: CallObject) -> float:
    """Likeness of two calls: 0 unless they have one name, at most 1 plus the parameters."""
    if wanted["name"] != predicted["name"]:
        return 0.0
    right, given = wanted["parameters"], predicted["parameters"]
    return jaccard(right, given) + sum(
        1.0 for name, value in right.items() if name in given and _equal(given[name], value)
    )


def _equal(one: Any, other: Any) -> bool:
    """True where two values are equal as JSON; Python would take True for 1."""
    if isinstance(one, bool) or isinstance(other, bool):
        return one is other
    if isinstance(one, dict) and isinstance(other, dict):
        return one.keys() == other.keys() and all(_equal(one[k], other[k]) for k in one)
    if isinstance(one, list) and isinstance(other, list):
        return len(one) == len(other) and all(map(_equal, one, other))
    return bool(one == other)


def _check(mode: str, turns: str) -> None:
    if mode not in get_args(Mode):
        raise ConfigError(f"mode: {mode!r} is not available; choose from toolrl, mended")
    if turns not in get_args(WhichTurns):
        raise ConfigError(f"turns: {turns!r} is not available; choose from last, every")


def _truths(
    reward_model: Sequence[Any] | None, ground_truth: Sequence[Any] | None
) -> Sequence[str]:
    """The ground truth of each completion."""
    if reward_model is None and ground_truth is None:
        raise DataError(
            "tool-calling rewards need a column 'reward_model' with tables that hold "
            "'ground_truth', or a column 'ground_truth', and the data has neither"
        )
    truths = ground_truth
    if truths is None:
        tables = reward_model or ()
        truths = [t.get("ground_truth") if isinstance(t, Mapping) else None for t in tables]
    for truth in truths:
        if not isinstance(truth, str):
            raise DataError(
                "a row has no text 'ground_truth'; write the right completion there, with its tags"
            )
    return truths


def _wanted(truth: str, read: Callable[[str], Sequence[Any]]) -> list[CallObject] | None:
    """The calls of a ground truth; None if it has no block of them."""
    if "<tool_call>" not in truth:
        return None
    try:
        return [_call(value) for value in read(truth)]
    except (ValueError, RecursionError) as error:
        raise DataError(
            f"the ground truth {truth[-200:]!r} cannot be read: its block of tool calls must hold "
            f"one JSON table with 'name' and 'parameters' a line, and mode toolrl takes the first "
            f"block even inside a thought ({error})"
        ) from error
