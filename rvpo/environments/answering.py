"""A world's answer to a turn in which tools are called."""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass

from rvpo.environments.environment import Reply
from rvpo.environments.tool_calls import ToolCall, tool_calls
from rvpo.types import Message


@dataclass(frozen=True, slots=True)
class Result:
    """What a call came to."""

    text: str
    """Text that the policy is told."""
    failure: str = ""
    """Reason that it failed, a few words; empty where it did not."""


def failed(sentence: str, failure: str) -> Result:
    """A call that failed, told as JSON with an `error`."""
    return Result(json.dumps({"error": sentence}), failure)


def refusal(call: ToolCall, known: Sequence[str]) -> Result | None:
    """The result of a call that cannot be made; None where it can.

    Args:
        known: names of the tools.
    """
    if call.problem:
        return failed(call.problem, call.problem.partition(" (")[0])
    if call.name not in known:
        among = f"; choose from {', '.join(known)}" if known else ""
        return failed(f"there is no tool {call.name!r}{among}", "no such tool")
    return None


async def answered(message: Message, result: Callable[[ToolCall], Awaitable[Result]]) -> Reply:
    """The results of a turn's calls, one behind the other; a turn without calls is the last one."""
    calls = tool_calls(message["content"])
    if not calls:
        return Reply()
    results = [await result(call) for call in calls]
    return Reply(
        messages=tuple(
            {"role": "tool", "name": call.name, "content": each.text}
            for call, each in zip(calls, results, strict=True)
        ),
        said={**message, "tool_calls": [call.as_message for call in calls]},
        calls=len(calls),
        failures=tuple(each.failure for each in results if each.failure),
    )
