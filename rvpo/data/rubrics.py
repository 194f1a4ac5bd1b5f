"""Rows that bring rubrics, from the forms in which data sets hold them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from rvpo.data.rows import stored_rows
from rvpo.rubrics.healthbench import healthbench_rows
from rvpo.rubrics.overlap import question
from rvpo.rubrics.rar import rar_rows
from rvpo.rubrics.report import RubricReport
from rvpo.types import Prompt

if TYPE_CHECKING:
    from rvpo.config import RubricSource


def rubric_rows(source: RubricSource, where: str) -> tuple[list[dict[str, Any]], RubricReport]:
    """Rows with a column `prompt` and a column `rubric`, and what was lost on the way.

    Raises:
        DataError: the source cannot be read or reached, or a criterion contradicts itself.
    """
    raw = stored_rows(source.rubrics, source.split, f"{where}.rubrics")
    if source.domain is not None:
        return rar_rows(raw, source.domain)
    return healthbench_rows(raw)


def without_held_out(
    train: Sequence[Prompt], held_out: Sequence[Prompt]
) -> tuple[tuple[Prompt, ...], int]:
    """The training prompts that ask nothing that is held out, and how many others there were."""
    asked = {question(prompt.messages) for prompt in held_out}
    kept = tuple(prompt for prompt in train if question(prompt.messages) not in asked)
    return kept, len(train) - len(kept)
