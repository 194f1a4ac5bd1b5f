"""Rows that bring rubrics, from the forms in which data sets hold them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from rvpo.data.rows import stored_rows
from rvpo.data.rubrics.healthbench import healthbench_rows
from rvpo.data.rubrics.overlap import question
from rvpo.data.rubrics.rar import rar_rows
from rvpo.data.rubrics.report import RubricReport
from rvpo.errors import DataError
from rvpo.types import Prompt

if TYPE_CHECKING:
    from rvpo.config.run import RubricSource


_COLUMNS = {"rar": "question and rubric", "healthbench": "prompt and rubrics"}
"""Columns without which a row of a format is none."""


def rubric_rows(source: RubricSource, where: str) -> tuple[list[dict[str, Any]], RubricReport]:
    """Rows with a column `prompt` and a column `rubric`, and what was lost on the way.

    Raises:
        DataError: the source cannot be read or reached, a criterion contradicts itself, or
            nothing can be used (the sentence says what was left out, and why).
    """
    raw = stored_rows(source.rubrics, source.split, f"{where}.rubrics", subset=source.subset)
    try:
        rows, report = (
            healthbench_rows(raw, source.doubtful)
            if source.domain is None
            else rar_rows(raw, source.domain, source.doubtful)
        )
    except DataError as error:
        raise DataError(f"{where}.rubrics: '{source.rubrics}', {error}") from error
    if raw and not rows:
        raise DataError(
            f"{where}.rubrics: nothing in '{source.rubrics}' can be used. {report} Rows of format "
            f"{source.format} have the columns {_COLUMNS[source.format]}; the first one here has "
            f"{', '.join(raw[0])}. Give other data, or their {where}.format"
        )
    return rows, report


def without_held_out(
    train: Sequence[Prompt], held_out: Sequence[Prompt]
) -> tuple[tuple[Prompt, ...], int]:
    """The training prompts that ask nothing that is held out, and how many others there were."""
    asked = {question(prompt.messages) for prompt in held_out}
    kept = tuple(prompt for prompt in train if question(prompt.messages) not in asked)
    return kept, len(train) - len(kept)
