"""Formats whose rows have a prompt in one column and a list of criteria in another."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

from rvpo.files.literal import inside
from rvpo.rubrics.conversation import Asked, conversation
from rvpo.rubrics.listing import entries_at
from rvpo.rubrics.overlap import question
from rvpo.rubrics.report import RubricReport
from rvpo.rubrics.settling import Convention, RubricCounts, read_rubric
from rvpo.rubrics.source import SignedSource


class TableSource(SignedSource):
    """A format that is told by the names of its columns, and by the meaning of its sizes.

    Names may lead inside a column: `reward_model.rubrics`. Of several, the first that holds
    something counts.
    """

    prompts: ClassVar[tuple[str, ...]]
    """Columns of the prompt."""
    criteria: ClassVar[tuple[str, ...]]
    """Columns of the list of criteria."""
    references: ClassVar[tuple[str, ...]] = ()
    """Columns of a good answer."""
    ids: ClassVar[tuple[str, ...]] = ("id",)
    """Columns of the row's name."""
    kept: ClassVar[tuple[str, ...]] = ()
    """Columns that rewards receive as well."""
    convention: ClassVar[Convention] = Convention()
    counts_twice: ClassVar[bool] = False
    """True where a question that was asked before counts again."""

    def read(self, raw: Sequence[Mapping[str, Any]]) -> tuple[list[dict[str, Any]], RubricReport]:
        """Raw rows as rows with `id`, `prompt`, `rubric`, `reference_answer` and what else the
        format keeps.

        Raises:
            DataError: a criterion states a polarity that is none, columns of criteria differ in
                length, or the file of signs cannot be read.
        """
        doubt = self.doubt()
        rows: list[dict[str, Any]] = []
        counts = RubricCounts()
        asked: set[str] = set()
        ids: set[str] = set()
        for place, raw_row in enumerate(raw):
            prompt = self.prompt_of(raw_row)
            if prompt is None:
                counts.dropped_rows["without a prompt"] += 1
                continue
            key = question(prompt)
            if key in asked and not self.counts_twice:
                counts.dropped_rows["asked before"] += 1
                continue
            entries = self.entries_of(raw_row, f"row {place}")
            rubric = read_rubric(entries, self.convention, doubt, f"row {place}", counts, key)
            if not rubric:
                counts.dropped_rows["without usable criteria"] += 1
                continue
            asked.add(key)
            name = self._name(raw_row, f"{key}\n{place}" if self.counts_twice else key, ids)
            ids.add(name)
            rows.append(
                {
                    "id": name,
                    "prompt": prompt,
                    "rubric": rubric,
                    "reference_answer": _first(raw_row, self.references) or "",
                    **self.others(raw_row),
                }
            )
        return rows, RubricReport.of(len(raw), rows, counts, self.doubtful)

    def prompt_of(self, row: Mapping[str, Any]) -> Asked | None:
        """The prompt of a raw row, or None where it has none."""
        found = (conversation(inside(row, column)) for column in self.prompts)
        return next((prompt for prompt in found if prompt is not None), None)

    def entries_of(self, row: Mapping[str, Any], where: str) -> Sequence[Any]:
        """The entries of a raw row's rubric.

        Args:
            where: the row, for messages.

        Raises:
            DataError: see `entries_at`.
        """
        found = (entries_at(inside(row, name), f"{where}, {name}") for name in self.criteria)
        return next((listed for listed in found if listed), ())

    def others(self, row: Mapping[str, Any]) -> dict[str, Any]:
        """Further columns of a row."""
        return {name: row.get(name) for name in self.kept}

    def _name(self, row: Mapping[str, Any], key: str, taken: set[str]) -> str:
        given = _first(row, self.ids)
        is_name = isinstance(given, str | int) and not isinstance(given, bool)
        if is_name and str(given).strip() and str(given) not in taken:
            return str(given)
        return f"{self.format}-{digest(key)}"


def digest(text: str) -> str:
    """A short name made from a text, the same on every machine."""
    return hashlib.sha256(text.encode(errors="surrogatepass")).hexdigest()[:16]


def _first(row: Mapping[str, Any], columns: Sequence[str]) -> Any:
    found = (inside(row, column) for column in columns)
    return next((value for value in found if value not in (None, "")), None)
