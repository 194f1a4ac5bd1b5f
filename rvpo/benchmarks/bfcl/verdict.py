"""The result of checking an answer."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Reason = Literal[
    "wrong_format",  # not a list of calls, each {function: {parameter: value}}
    "wrong_count",  # fewer or more calls than wanted
    "wrong_function",
    "missing_parameter",  # required by the description
    "unexpected_parameter",  # not in the description or not in the ground truth
    "omitted_parameter",  # not required, but the ground truth does not let it be left out
    "wrong_type",
    "wrong_value",
    "no_match",  # of several wanted calls, one was not made
    "called",  # where no call was wanted
    "not_called",  # where one was
    "wrong_state",  # of a service, after a turn
    "missing_result",  # answer to a wanted call that no call has
    "broken_off",  # a conversation that would not end
    "error",  # the original checker raises here
    "failed",  # the services, so that nobody knows
]


@dataclass(frozen=True, slots=True)
class CallCheck:
    """Outcome of a check of an answer: valid, or the reason that it is not, or is not known."""

    valid: bool | None
    reason: Reason | None = None
    detail: str = ""


VALID = CallCheck(True)


def invalid(reason: Reason, detail: str) -> CallCheck:
    return CallCheck(False, reason, detail)


class Crash(Exception):
    """Here the original checker raises; one crash decides the whole row."""
