"""Rows of WildChecklists (arXiv:2507.18624; viswavi/wildchecklists).

A row has a `prompt` and `requirements`, a text of numbered questions about a response, each with
its importance: "1) Does the response ...? (importance: 90/100)". A yes is wanted.
"""

from __future__ import annotations

from typing import ClassVar, Literal

from rvpo.rubrics.settling import Convention
from rvpo.rubrics.table import TableSource


class WildChecklistsSource(TableSource):
    """WildChecklists."""

    columns: ClassVar[tuple[str, ...]] = ("prompt", "requirements")
    prompts: ClassVar[tuple[str, ...]] = ("prompt", "instruction")
    criteria: ClassVar[tuple[str, ...]] = ("requirements", "checklist")
    convention: ClassVar[Convention] = Convention(full=100.0)

    format: Literal["wildchecklists"]
    """WildChecklists (prompt, requirements)."""
