"""Answers that have, or lack, a form that a regular expression describes."""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import cache
from typing import Any, Final, Literal

from rvpo.rewards.completion import Completion, text_of

_FLAGS: Final = {"i": re.IGNORECASE, "m": re.MULTILINE, "s": re.DOTALL, "x": re.VERBOSE}


def matched(
    completions: Sequence[Completion],
    pattern: str,
    where: Literal["anywhere", "start", "whole"] = "anywhere",
    flags: str = "",
    times: int | None = None,
    **columns: Any,
) -> list[float]:
    """1 where a completion matches, else 0; with `weight` below 0, a form to be avoided.

    `sees: everything` matches thoughts too, such as `<think>.*</think>.*`.

    Args:
        completions: the answers, without the space around them.
        pattern: in the syntax of Python's `re`.
        where: `anywhere` in the text, at its `start`, or the `whole` of it.
        flags: letters among `i` (case does not matter), `m` (`^` and `$` of each line), `s` (`.` is
            a line's end too) and `x` (space and comments in the pattern).
        times: number of matches that are wanted, where more are wrong too.

    Raises:
        ValueError: the pattern or a flag is wrong.

    Source: Python's re, https://docs.python.org/3/library/re.html.
    """
    compiled = _compiled(pattern, flags)
    texts = [text_of(each).strip() for each in completions]
    if times is not None:
        if where != "anywhere":
            raise ValueError("times counts matches anywhere; leave where out")
        return [float(sum(1 for _ in compiled.finditer(text)) == times) for text in texts]
    match where:
        case "anywhere":
            found = compiled.search
        case "start":
            found = compiled.match
        case "whole":
            found = compiled.fullmatch
        case _:
            raise ValueError(f"where must be anywhere, start or whole, got {where!r}")
    return [float(found(text) is not None) for text in texts]


@cache
def _compiled(pattern: str, flags: str) -> re.Pattern[str]:
    unknown = set(flags) - set(_FLAGS)
    if unknown:
        raise ValueError(f"flags must be of {', '.join(_FLAGS)}, got {flags!r}")
    try:
        return re.compile(pattern, sum(_FLAGS[each] for each in set(flags)))
    except re.error as error:
        raise ValueError(f"pattern {pattern!r} is no regular expression: {error}") from error
