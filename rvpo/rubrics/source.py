"""The interface of a rubric format: a source of the data, and how its rows are read."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

from rvpo.errors import DataError
from rvpo.fields import PathText
from rvpo.files.shard import StoredRows
from rvpo.files.source_section import StoredSection
from rvpo.files.stored import stored
from rvpo.rubrics.doubt import Doubt, read_signs
from rvpo.rubrics.report import RubricReport
from rvpo.rubrics.sign import Doubtful


class RubricSource(StoredSection):
    """Rows that bring a rubric each: the criteria that a good answer meets or avoids.

    A subclass is a format in which data sets hold them. It has a `format`, which chooses it, its
    `columns`, and `read`.
    """

    columns: ClassVar[tuple[str, ...]]
    """Those without which a row of the format is none."""

    rubrics: PathText
    """Files or a Hub dataset, as `path` of other sources."""
    format: str
    """The form of its rows."""

    def read(self, raw: Sequence[Mapping[str, Any]]) -> tuple[list[dict[str, Any]], RubricReport]:
        """Raw rows as rows with `id`, `prompt` and `rubric`, and what was lost on the way.

        A rubric is a list of `Criterion.to_row()`. What else a row has, rewards receive.

        Raises:
            DataError: a criterion contradicts itself.
        """
        raise NotImplementedError

    def stored(self, where: str) -> StoredRows:
        """The raw rows, where they lie.

        Args:
            where: the setting that holds the source, for messages.

        Raises:
            DataError: the source cannot be read or reached.
        """
        at = f"{where}.rubrics"
        return stored(self.rubrics, self.split, at, None, self.subset, self.revision)

    def rows(
        self, where: str, raw: Sequence[Mapping[str, Any]] | None = None
    ) -> tuple[list[dict[str, Any]], RubricReport]:
        """Rows with a column `prompt` and a column `rubric`, and what was lost on the way.

        Args:
            where: the setting that holds the source, for messages.
            raw: the rows to be read; those of `stored` if left out.

        Raises:
            DataError: the source cannot be read or reached, a criterion contradicts itself, or
                nothing can be used (the sentence says what was left out, and why).
        """
        raw = list(self.stored(where).rows()) if raw is None else raw
        try:
            rows, report = self.read(raw)
        except DataError as error:
            raise DataError(f"{where}.rubrics: '{self.rubrics}', {error}") from error
        if raw and not rows:
            raise DataError(
                f"{where}.rubrics: nothing in '{self.rubrics}' can be used. {report} Rows of "
                f"format {self.format} have the columns {' and '.join(self.columns)}; the first "
                f"one here has {', '.join(raw[0])}. Give other data, or their {where}.format"
            )
        return rows, report


class SignedSource(RubricSource):
    """A source of criteria of which some cost points, so that each needs a sign."""

    doubtful: Doubtful = "drop"
    """Treatment of criteria whose sign is in doubt: their points and their wording disagree, or
    nothing tells whether meeting a pitfall is bad. `drop` leaves them out, `keep` follows the
    points, `flip` the wording. The counts are in what the data say."""
    signs: PathText | None = None
    """A file of signs that a judge told of such criteria, as `rvpo judge --signs FILE` writes it;
    they go before `doubtful`."""

    def doubt(self) -> Doubt:
        """The treatment that the settings ask for.

        Raises:
            DataError: the file of signs cannot be read.
        """
        return Doubt(self.doubtful, read_signs(self.signs) if self.signs else {})
