"""Rows of ResearchRubrics (arXiv:2511.07685; ScaleAI/researchrubrics).

A row has a `prompt` and `rubrics`, each with a criterion, an axis and a weight from -5 to 5: 4 and
5 are what an answer must have, below 0 is what it loses by.
"""

from __future__ import annotations

from typing import ClassVar, Literal

from rvpo.rubrics.settling import Convention
from rvpo.rubrics.table import TableSource


class ResearchRubricsSource(TableSource):
    """ResearchRubrics."""

    columns: ClassVar[tuple[str, ...]] = ("prompt", "rubrics")
    prompts: ClassVar[tuple[str, ...]] = ("prompt",)
    criteria: ClassVar[tuple[str, ...]] = ("rubrics", "rubric")
    ids: ClassVar[tuple[str, ...]] = ("sample_id", "task_name", "id")
    kept: ClassVar[tuple[str, ...]] = ("domain",)
    convention: ClassVar[Convention] = Convention(sized=True, full=5.0)

    format: Literal["research_rubrics"]
    """ResearchRubrics (prompt, rubrics)."""
