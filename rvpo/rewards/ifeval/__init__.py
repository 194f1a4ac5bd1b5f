"""Instructions whose observance a program can check, such as "in at least 300 words"."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

from rvpo.rewards.completion import Completion, text_of
from rvpo.rewards.field import field_of
from rvpo.rewards.ifeval.rows import Instruction, instructions_of
from rvpo.runtime.extras import Need, require
from rvpo.types import Failed, RewardScore


def followed(
    completions: Sequence[Completion],
    column: str = "instruction_id_list",
    arguments_column: str = "kwargs",
    score: Literal["share", "all"] = "share",
    loose: bool = False,
    **columns: Any,
) -> list[RewardScore]:
    """Share of its prompt's instructions that a completion follows, from 0 to 1.

    Args:
        completions: the answers.
        column: name of the data's column with the instructions, dotted where it lies deeper; its
            shapes are those of `instructions_of`.
        arguments_column: column with their arguments, where they are apart.
        score: `all` gives 1 where every instruction is followed, else 0.
        loose: an instruction also counts as followed if it is without the first line, the last
            line, both, or without asterisks, as in IFEval's loose accuracy.

    Returns:
        None where a row has no instructions, and 0 for an empty completion; Failed where one is not
        known.

    Raises:
        ConfigError: py3langid, which some instructions need, is not installed, or there is no such
            column.

    Source: IFEval (Zhou et al., arXiv:2311.07911); the shape of RLVR-IFeval is of Tülu 3
    (arXiv:2411.15124).
    """
    require("the reward rvpo.rewards.ifeval:followed", Need("language"))
    if score not in ("share", "all"):
        raise ValueError(f"score must be 'share' or 'all', got {score!r}")
    cells = field_of(columns, column)
    beside = columns.get(arguments_column, [None] * len(completions))
    scores: list[RewardScore] = []
    for completion, cell, arguments in zip(completions, cells, beside, strict=True):
        try:
            instructions = [] if cell is None else instructions_of(cell, arguments)
        except ValueError as error:  # of the row's own values
            scores.append(Failed(str(error)))
        else:
            scores.append(_score(text_of(completion), instructions, score == "all", loose))
    return scores


def _score(
    text: str, instructions: Sequence[Instruction], every: bool, loose: bool
) -> float | None:
    if not instructions:
        return None
    texts = [each for each in (_variants(text) if loose else [text]) if each.strip()]
    kept = [any(map(each.followed, texts)) for each in instructions]
    return float(all(kept)) if every else sum(kept) / len(kept)


def _variants(text: str) -> list[str]:
    lines = text.split("\n")
    cut = ["\n".join(part).strip() for part in (lines, lines[1:], lines[:-1], lines[1:-1])]
    return [text, *cut, *(each.replace("*", "") for each in cut)]
