"""Tables on the terminal: names to the left, numbers to the right, and no lines between them.

A value that is unknown is a dash everywhere.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from rich.table import Table

UNKNOWN: Final = "-"


def shown(value: float | None, form: str) -> str:
    """A number in a format such as `+.3f`, or the dash."""
    return UNKNOWN if value is None else format(value, form)


def span(ends: tuple[float, float] | None, form: str) -> str:
    """An interval, each end in the format, or the dash."""
    return UNKNOWN if ends is None else " to ".join(format(end, form) for end in ends)


def make_table(
    names: Sequence[str],
    numbers: Sequence[str],
    *,
    title: str | None = None,
    caption: str | None = None,
) -> Table:
    """A table without rows, whose cells wrap where the terminal is narrow and lose nothing.

    Args:
        names: headings of the columns to the left.
        numbers: headings of those to the right.
    """
    table = Table(
        title=title,
        title_justify="left",
        caption=caption,
        caption_justify="left",
        box=None,  # of 80 columns, names need more than lines do
        padding=(0, 1, 0, 0),
    )
    for heading in names:
        table.add_column(heading, overflow="fold")
    for heading in numbers:
        table.add_column(heading, justify="right", overflow="fold")
    return table
