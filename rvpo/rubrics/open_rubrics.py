"""Rows of OpenRubrics (arXiv:2510.07743; OpenRubrics/OpenRubrics and OpenRubric-v2).

A row has an `instruction` and a `rubric`, a text of numbered sentences that end with "[Hard Rule]",
what the instruction demands, or "[Principle]", what makes an answer good: essential and important
here.
"""

from __future__ import annotations

from typing import ClassVar, Literal

from rvpo.rubrics.table import TableSource


class OpenRubricsSource(TableSource):
    """OpenRubrics."""

    columns: ClassVar[tuple[str, ...]] = ("instruction", "rubric")
    prompts: ClassVar[tuple[str, ...]] = ("instruction", "prompt")
    criteria: ClassVar[tuple[str, ...]] = ("rubric", "rubrics")
    kept: ClassVar[tuple[str, ...]] = ("source",)

    format: Literal["openrubrics"]
    """OpenRubrics (instruction, rubric)."""
