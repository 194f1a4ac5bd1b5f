"""Rows of one's own, or of any data set whose columns the settings name."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, Literal

from rvpo.files.literal import inside
from rvpo.rubrics.conversation import Asked, conversation
from rvpo.rubrics.listing import entries_at
from rvpo.rubrics.table import TableSource


class CriteriaSource(TableSource):
    """Criteria in a column that the settings name."""

    columns: ClassVar[tuple[str, ...]] = ("prompt_column", "column")

    format: Literal["criteria"]
    """Criteria of any form (the columns that `prompt_column` and `column` name)."""
    prompt_column: str = "prompt"
    """The column that holds the prompt; `a.b` is the field b of column a."""
    column: str = "rubric"
    """The column that holds the criteria; `a.b` is the field b of column a."""

    def prompt_of(self, row: Mapping[str, Any]) -> Asked | None:
        """See `TableSource`."""
        return conversation(inside(row, self.prompt_column))

    def entries_of(self, row: Mapping[str, Any], where: str) -> Sequence[Any]:
        """See `TableSource`."""
        return entries_at(inside(row, self.column), f"{where}, {self.column}")

    def others(self, row: Mapping[str, Any]) -> dict[str, Any]:
        """All columns but those that are read, and those that have another meaning here."""
        known = {"id", "prompt", "rubric", "reference_answer", self.prompt_column, self.column}
        return {name: value for name, value in row.items() if name not in known}
