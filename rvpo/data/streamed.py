"""Prompts whose rows are read when their step comes."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from itertools import islice
from typing import Any, Final

from rvpo.data.packed import Joined, Prompts
from rvpo.data.row_functions import RowFunctions
from rvpo.errors import DataError
from rvpo.files.row_order import NumberedRow, RowOrder
from rvpo.runtime.ignore import ignore
from rvpo.types import Prompt

READ_FIRST: Final = 256
"""Prompts of a stream that are read and checked before a run starts."""
_REMEMBERED: Final = 4096
"""Last visits of a stream that can be asked for again without reading the rows again."""


@dataclass
class _Place:
    """An order, read as far as it was visited."""

    prompts: Iterator[Prompt]
    next: int = 0
    """Visits so far."""
    last: deque[Prompt] = field(default_factory=lambda: deque(maxlen=_REMEMBERED))


@dataclass(frozen=True, eq=False, repr=False)
class Streamed(Joined):
    """Prompts of more rows than memory holds. As a sequence it is those that come first.

    Which prompt a visit meets follows from the seed and the number of the visit: a run that goes on
    reads again what it has to pass over. Rows that are no prompts stop the run before it starts
    where they are among the first; later one of the first takes the place of each, and it is said.

    Args:
        parts: the first prompts, read already.
        rows: the rows, in any order.
        chosen: filter and map of the rows.
        read: makes a prompt of a row and its number.
        where: the setting of the source, for messages.
        say: told of rows that are left out.
        revision: commit of the Hub dataset that they are from.
        fits: each is true of the prompts that are to be kept.
    """

    rows: RowOrder
    chosen: RowFunctions
    read: Callable[[str, Any], Prompt]
    where: str
    seed: int
    say: Callable[[str], None] = ignore
    revision: str | None = None
    fits: tuple[Callable[[Prompt], bool], ...] = ()
    _places: dict[int, _Place] = field(default_factory=dict)
    _found: dict[str, int] = field(default_factory=dict)
    """Numbers that are known once the rows have been read: `size`, and `lost`."""

    def started(self) -> Streamed:
        """The stream with its first prompts.

        Raises:
            DataError: there are none, or one of the rows is none.
        """
        found = islice(self._epoch(self.seed, 0, 0, strict=True), READ_FIRST)
        head = Prompts.of(found, packed=False)
        if not head:
            raise DataError(f"{self.where}: there are no rows that are kept; give at least one")
        return replace(self, parts=(head,), _places={}, _found={})

    def keeping(self, fits: Callable[[Prompt], bool]) -> Streamed:
        """The stream without the prompts of which something is false.

        Raises:
            DataError: see `started`.
        """
        return replace(self, fits=(*self.fits, fits)).started()

    def visits(self, seed: int, first: int) -> Iterator[Prompt]:
        """Every prompt from a place on, in the order in which they are visited, without end.

        Args:
            first: visits to pass over.

        Raises:
            DataError: a file cannot be read any more, or no row is kept.
        """
        place = self._places.get(seed)
        if place is None or first < place.next - len(place.last):
            place = self._begun(seed, first)
            self._places[seed] = place
        while True:
            while place.next <= first:
                place.last.append(next(place.prompts))
                place.next += 1
            yield place.last[first - place.next]
            first += 1

    @property
    def known_size(self) -> int:
        """Prompts of an epoch, as far as it is known how many are kept of the rows; else 0."""
        return self._found.get("size") or self.rows.size or 0

    def _begun(self, seed: int, first: int) -> _Place:
        """The order read up to a visit, or as near before it as can be jumped to."""
        size = self._found.get("size")
        jumps = self.rows.size is not None and not self.fits and self.chosen.keeps is None
        size = self.rows.size if jumps else size
        if not size:
            return _Place(self._endless(seed, 0, 0))
        epoch, row = divmod(first, size)
        row = row if jumps else 0
        return _Place(self._endless(seed, epoch, row), epoch * size + row)

    def _endless(self, seed: int, epoch: int, row: int) -> Iterator[Prompt]:
        while True:
            kept = row
            for prompt in self._epoch(seed, epoch, row):
                yield prompt
                kept += 1
            if not kept:
                raise DataError(f"{self.where}: no row is kept any more; give others")
            self._found["size"] = kept
            epoch, row = epoch + 1, 0

    def _epoch(self, seed: int, epoch: int, row: int, strict: bool = False) -> Iterator[Prompt]:
        for numbered in self.rows.epoch(f"{seed}/{epoch}", row):
            try:
                prompt = self._prompt(numbered)
            except DataError as error:
                if strict:
                    raise
                self._lose(error)
                # By its row, not by how many were lost: a run that goes on did not meet them all.
                prompt = self[int(numbered[0].rpartition("/")[2]) % len(self)]
            if prompt is not None and all(fit(prompt) for fit in self.fits):
                yield prompt

    def _prompt(self, numbered: NumberedRow) -> Prompt | None:
        number, row = numbered
        if isinstance(row, DataError):
            raise row
        row = self.chosen.of_row(number, row)
        if row is None:
            return None
        prompt = self.read(number, row)
        names = self[0].columns if len(self) else ()
        return replace(prompt, columns=dict.fromkeys(names) | dict(prompt.columns))

    def _lose(self, error: DataError) -> None:
        lost = self._found["lost"] = self._found.get("lost", 0) + 1
        if lost in (1, 10, 100) or lost % 1000 == 0:
            rows = "a row" if lost == 1 else f"{lost:,} rows so far, the last one"
            self.say(f"{self.where}: left out {rows} that is no prompt: {error}")
