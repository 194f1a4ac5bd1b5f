"""Rows of HealthBench Professional (arXiv:2604.27470; openai/healthbench-professional).

A row has a `conversation` with its `messages`, and `rubric_items`, each with a text and points from
-10 to 10, of which those below 0 are lost by a response that meets the criterion.
"""

from __future__ import annotations

from typing import ClassVar, Literal

from rvpo.rubrics.settling import Convention
from rvpo.rubrics.table import TableSource


class HealthBenchProfessionalSource(TableSource):
    """HealthBench Professional."""

    columns: ClassVar[tuple[str, ...]] = ("conversation", "rubric_items")
    prompts: ClassVar[tuple[str, ...]] = ("conversation",)
    criteria: ClassVar[tuple[str, ...]] = ("rubric_items",)
    references: ClassVar[tuple[str, ...]] = ("physician_response",)
    kept: ClassVar[tuple[str, ...]] = ("use_case", "difficulty", "specialty", "canary_string")
    convention: ClassVar[Convention] = Convention(sized=True, full=10.0, repeats=True)
    counts_twice: ClassVar[bool] = True

    format: Literal["healthbench_professional"]
    """HealthBench Professional (conversation, rubric_items)."""
