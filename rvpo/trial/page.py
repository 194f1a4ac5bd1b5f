"""Text and tables on the standard output."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from rich.console import Console
from rich.table import Table
from rich.text import Text

from rvpo.runtime.terminal import printable

PageCell = str | Text


class Page:
    """Tables with colours on a terminal; elsewhere one plain line a row, none of them wrapped.

    Args:
        console: the one to print on.
    """

    def __init__(self, console: Console) -> None:
        self._console = console

    def line(self, text: str = "", style: str = "") -> None:
        """A line of its own."""
        # Wrapped by the terminal alone: what is copied from here must be whole.
        self._console.print(Text(printable(text), style), highlight=False, soft_wrap=True)

    def table(
        self, headings: Sequence[str], rows: Sequence[Sequence[PageCell]], right: Sequence[int] = ()
    ) -> None:
        """Rows under headings, which plain rows go without where they are all empty.

        Args:
            right: columns that are aligned to the right.
        """
        rows = [[Text(printable(c)) if isinstance(c, str) else c for c in row] for row in rows]
        if self._console.is_terminal:
            table = Table(box=None, pad_edge=False, show_header=any(headings))
            for place, heading in enumerate(headings):
                last = place == len(headings) - 1
                table.add_column(
                    heading,
                    justify="right" if place in right else "left",
                    no_wrap=place in right,
                    ratio=1 if last else None,
                )
            for row in rows:
                table.add_row(*row)
            self._console.print(table)
            return
        lines = [headings, *([str(cell) for cell in row] for row in rows)]
        widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
        for line in lines if any(headings) else lines[1:]:
            padded = [
                cell.rjust(width) if place in right else cell.ljust(width)
                for place, (cell, width) in enumerate(zip(line, widths, strict=True))
            ]
            self.line("  ".join(padded).rstrip())

    @contextmanager
    def phase(self, text: str) -> Iterator[None]:
        """Say what is going on meanwhile, on the standard error where this is no terminal."""
        if self._console.is_terminal:
            with self._console.status(Text(text)):
                yield
        else:
            print(f"{text} ...", file=sys.stderr)
            yield
