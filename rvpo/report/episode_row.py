"""An episode as a table of JSON, in the files of samples."""

from __future__ import annotations

import json
from bisect import bisect_left
from collections.abc import Mapping, Sequence
from typing import Any, Final

from rvpo.episode import Episode, Turn, text_of

_NO_JSON: Final = "(no JSON)"
"""In place of what an environment put into a message and JSON cannot hold."""


def episode_row(episode: Episode, given: Sequence[int]) -> dict[str, Any]:
    """Everything that is kept of an episode but its tokens and its world's object.

    Args:
        given: see `Sample`, in order.
    """
    return {
        "ending": episode.ending,
        "reason": episode.reason,
        "calls": episode.calls,
        "failures": list(episode.failures),
        "rewritten": episode.rewritten,
        "turns": [_turn(turn, given) for turn in episode.turns],
    }


def json_of(message: Mapping[str, Any]) -> dict[str, Any]:
    """A message as JSON has it: what it holds beside its texts may be of any code's making."""
    found = {str(name): _plain(value) for name, value in message.items()}
    return found | {"role": str(message["role"]), "content": text_of(message)}


def _turn(turn: Turn, given: Sequence[int]) -> dict[str, Any]:
    return {
        "by": "policy" if turn.is_policy else "world",
        "messages": [json_of(message) for message in turn.shown("everything")],
        "start": turn.start,
        "stop": turn.stop,
        "given": bisect_left(given, turn.stop) - bisect_left(given, turn.start),
    }


def _plain(value: Any) -> Any:
    try:
        return json.loads(json.dumps(value, allow_nan=False, default=str))
    except (TypeError, ValueError, RecursionError):
        return _NO_JSON
