"""A world's answer to a turn in which tools are called."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from rvpo.environments.environment import WorldReply
from rvpo.environments.tool_calls import ToolCall, tool_calls
from rvpo.types import Message


@dataclass(frozen=True, slots=True)
class CallResult:
    """The result of a call."""

    text: str
    """Text that the policy is told."""
    failure: str = ""
    """Reason that it failed, a few words; empty where it did not."""


def failed(sentence: str, failure: str) -> CallResult:
    """A call that failed, told as TRL tells it."""
    return CallResult(str({"error": sentence}), failure)


def shortened(text: str, most: int, hidden: Callable[[str], str] = str) -> str:
    """A result as the policy is told it: what is longer is cut off, and said to be.

    Args:
        hidden: takes out what nobody is told.
    """
    shown = hidden(text[:most])
    return f"{shown}\n[cut off: there are {len(text):,}]" if len(text) > most else shown


def refusal(call: ToolCall, known: Collection[str]) -> CallResult | None:
    """The result of a call that cannot be made; None where it can.

    Args:
        known: names of the tools.
    """
    if call.problem:
        return failed(call.problem, "cannot be read")
    if call.name not in known:
        there_are = ", ".join(known)
        return failed(f"there is no tool {call.name[:60]!r}; there are {there_are}", "no such tool")
    return None


async def answered(
    message: Message,
    tools: Sequence[Mapping[str, Any]],
    result: Callable[[ToolCall], Awaitable[CallResult]],
) -> WorldReply:
    """The results of a turn's calls, made one after the other; a turn without calls is the last
    one.

    Args:
        message: a turn of the policy.
        tools: functions that it was shown, each as OpenAI's API describes one.
        result: makes a call.
    """
    calls = tool_calls(message["content"], tools)
    if not calls:
        return WorldReply()
    results = [await result(call) for call in calls]
    return WorldReply(
        messages=tuple(
            {"role": "tool", "name": call.name, "content": each.text}
            for call, each in zip(calls, results, strict=True)
        ),
        said={**message, "tool_calls": [call.as_message for call in calls]},
        calls=len(calls),
        failures=tuple(each.failure for each in results if each.failure),
    )
