"""Answers to mathematical questions, compared as mathematics and not as text."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from typing import Any

from rvpo.rewards.completion import Completion, text_of
from rvpo.rewards.cores import cores
from rvpo.rewards.field import field_of
from rvpo.rewards.mathematics.comparers import Claim, Comparers
from rvpo.runtime.extras import Need, require
from rvpo.types import Failed, RewardScore


def solved(
    completions: Sequence[Completion],
    column: str = "answer",
    boxed: bool = False,
    seconds: int = 5,
    workers: int | None = None,
    **columns: Any,
) -> list[RewardScore]:
    """1 where a completion's answer equals the right one, else 0.

    Numbers, fractions, percentages, expressions, equations, intervals, sets and matrices are equal
    as mathematics: 1/2, 0.5 and \\frac{1}{2} are. The answer is the last closed `\\boxed{…}`;
    without one, what stands in `$`, or the last number.

    Args:
        completions: the answers.
        column: name of the data's column with the right answer, dotted where it lies deeper: in
            LaTeX, in `\\boxed` at the end of a solution, or behind `####` as in GSM8K.
        boxed: answers count in `\\boxed` alone.
        seconds: time of computing for each comparison.
        workers: processes that compare; the rank's share of the machine's cores if left out, but no
            more than four.

    Returns:
        None where a row has no right answer; Failed where it cannot be read, or where comparing
        takes too long.

    Raises:
        ConfigError: math-verify is not installed, or there is no such column.

    Source: math-verify (Hynek Kydlíček), the grader of Hugging Face's Open R1 and LightEval.
    """
    require("the reward rvpo.rewards.mathematics:solved", Need("math"))
    rights = field_of(columns, column)
    asked = {
        number: Claim(str(right), text_of(completion), boxed)
        for number, (completion, right) in enumerate(zip(completions, rights, strict=True))
        if right is not None and str(right).strip()
    }
    said = comparers(workers or min(4, cores()), seconds).ask(list(asked.values()))
    scores: list[RewardScore] = [None] * len(completions)
    for number, verdict in zip(asked, said, strict=True):
        scores[number] = Failed(verdict) if isinstance(verdict, str) else float(verdict)
    return scores


@cache
def comparers(count: int, seconds: int) -> Comparers:
    """The processes that compare, which live as long as this one."""
    return Comparers(count, seconds)
