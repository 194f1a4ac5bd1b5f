"""An episode of a sample, to be read as a conversation."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any, Final

_ENDINGS: Final = {
    "answered": "the policy was through",
    "out_of_turns": "its turns were used up",
    "out_of_tokens": "its tokens were used up",
    "out_of_time": "its seconds were used up",
    "tool_failed": "a tool failed it, so it has no score",
    "world_broken": "the world broke, so it has no score",
}


def conversation(episode: Mapping[str, Any] | None) -> dict[str, Any] | None:
    """Words for the turns of an episode and its end, for the template; None where there is none.

    Args:
        episode: see `rvpo.report.episode_row`.
    """
    if episode is None:
        return None
    return {"turns": [_turn(turn) for turn in episode["turns"]], "end": _end(episode)}


def _turn(turn: Mapping[str, Any]) -> dict[str, Any]:
    is_policy, tokens, given = turn["by"] == "policy", turn["stop"] - turn["start"], turn["given"]
    count = f"{tokens:,} token{'' if tokens == 1 else 's'}"
    told = f"{count}, {given:,} of them given" if is_policy and given else count
    return {
        "by": turn["by"],
        "tokens": told if is_policy else f"{count}, given: nothing is learned from them",
        "messages": [
            {"who": _who(message, is_policy), "text": message["content"], "calls": _calls(message)}
            for message in turn["messages"]
        ],
    }


def _who(message: Mapping[str, Any], is_policy: bool) -> str:
    if is_policy:
        return "policy"
    name = message.get("name")
    return f"{message['role']} {name}" if isinstance(name, str) and name else str(message["role"])


def _calls(message: Mapping[str, Any]) -> str:
    """Names of the tools that a message calls."""
    calls = message.get("tool_calls")
    found = [_called(call) for call in calls] if isinstance(calls, list) else []
    return f"calls {', '.join(found)}" if found else ""


def _called(call: Any) -> str:
    function = call.get("function", call) if isinstance(call, Mapping) else {}
    name = function.get("name") if isinstance(function, Mapping) else None
    return name if isinstance(name, str) and name else "something unnamed"


def _end(episode: Mapping[str, Any]) -> list[str]:
    """Sentences on the end, the calls, and what the template would have made of it."""
    ending, reason = episode["ending"], episode["reason"]
    found = [f"Ended: {_ENDINGS.get(ending, ending)}" + (f" ({reason})." if reason else ".")]
    if calls := episode["calls"]:
        found.append(f"{calls:,} call{'' if calls == 1 else 's'} of tools{_failed(episode)}.")
    if episode["rewritten"]:
        found.append(f"The chat template would write it otherwise: {episode['rewritten']}.")
    return found


def _failed(episode: Mapping[str, Any]) -> str:
    failures: Sequence[str] = episode["failures"]
    reasons = ", ".join(
        f"{count:,} × {reason}" if count > 1 else reason
        for reason, count in Counter(failures).most_common()
    )
    return f", {len(failures):,} of them failed: {reasons}" if failures else ""
