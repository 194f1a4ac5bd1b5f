"""The functions of a user through which the rows of a source go."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from rvpo.data.rows import plain
from rvpo.errors import DataError
from rvpo.files.source_section import StoredSection
from rvpo.runtime.deepcopy import own
from rvpo.runtime.imports import import_function


@dataclass(frozen=True)
class RowFunctions:
    """A filter and a map, of which a source may have either."""

    where: str
    """The setting of the source, for messages."""
    keeps: Callable[..., Any] | None
    changes: Callable[..., Any] | None

    @staticmethod
    def of(source: StoredSection, where: str) -> RowFunctions:
        """Import those of a source.

        Raises:
            ConfigError: one does not import.
        """
        keeps, changes = source.filter, source.map
        return RowFunctions(
            where,
            None if keeps is None else import_function(keeps, f"{where}.filter"),
            None if changes is None else import_function(changes, f"{where}.map"),
        )

    def __call__(self, rows: Iterable[Any]) -> Iterator[tuple[int, Any]]:
        """The number of each row that the filter keeps, from 0, and the row as the map makes it.

        Raises:
            DataError: a function raised, or returned something else than it is to return.
        """
        for number, row in enumerate(rows):
            if (found := self.of_row(number, row)) is not None:
                yield number, found

    def of_row(self, number: int | str, row: Any) -> Any:
        """The row as the map makes it; None where the filter leaves it out.

        Args:
            number: the row's, for messages.

        Raises:
            DataError: see `__call__`.
        """
        if self.keeps is not None and not self._asked(self.keeps, "filter", number, row):
            return None
        if self.changes is None:
            return row
        made = self._asked(self.changes, "map", number, row)
        if not isinstance(made, Mapping):
            raise DataError(
                f"{self.where}.map: row {number} became a value of type {type(made).__name__}; "
                "return a dict, and leave rows out with `filter`"
            )
        return plain(made)

    def _asked(self, function: Callable[..., Any], name: str, number: int | str, row: Any) -> Any:
        try:
            found = function(own(row))
            return bool(found) if name == "filter" else found
        except (Exception, SystemExit) as error:  # the user's code, which can raise anything
            raise DataError(
                f"{self.where}.{name}: failed at row {number}: {type(error).__name__}: {error}"
            ) from error
