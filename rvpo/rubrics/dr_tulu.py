"""Rows of DR Tulu (arXiv:2511.19399; rl-research/dr-tulu-rl-data).

A row has `messages`, and in `ground_truth` a JSON text with the `query` and its `rubrics`, each of
which has a title, a description and a weight. The published score takes the weight of a criterion
that is met, whatever its sign.
"""

from __future__ import annotations

from typing import ClassVar, Literal

from rvpo.rubrics.table import TableSource


class DrTuluSource(TableSource):
    """DR Tulu."""

    columns: ClassVar[tuple[str, ...]] = ("messages", "ground_truth")
    prompts: ClassVar[tuple[str, ...]] = ("messages", "prompt", "ground_truth.query", "query")
    criteria: ClassVar[tuple[str, ...]] = ("ground_truth.rubrics", "ground_truth.rubric", "rubrics")
    kept: ClassVar[tuple[str, ...]] = ("dataset", "source", "question_type")

    format: Literal["dr_tulu"]
    """DR Tulu (messages, ground_truth)."""
