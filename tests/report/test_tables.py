"""Tables on the terminal lose nothing, and the unknown is a dash in all of them."""

from __future__ import annotations

import io

import pytest

from rvpo.report.tables import make_table, shown, span
from rvpo.runtime.console import PlainConsole


@pytest.mark.parametrize(
    ("value", "form", "text"),
    [(None, ".3f", "-"), (0.0, "+.3f", "+0.000"), (0.25, ".0%", "25%"), (1e-9, ".2g", "1e-09")],
)
def test_a_number_has_its_format_and_the_unknown_a_dash(
    value: float | None, form: str, text: str
) -> None:
    assert shown(value, form) == text


def test_an_interval_is_its_ends_or_a_dash() -> None:
    assert span((-0.5, 0.25), "+.2f") == "-0.50 to +0.25"
    assert span(None, "+.2f") == "-"


def printed(width: int) -> list[str]:
    table = make_table(["reward"], ["before", "after"], title="Title")
    table.add_row("a_name_of_some_length", "0.125", "123456.789")
    console = PlainConsole(file=(file := io.StringIO()), width=width)
    console.print(table)
    return file.getvalue().splitlines()


def test_numbers_stand_below_the_ends_of_their_headings() -> None:
    title, head, row = printed(80)
    assert title.strip() == "Title"
    assert head.split() == ["reward", "before", "after"]
    assert row.split() == ["a_name_of_some_length", "0.125", "123456.789"]
    assert head.index("before") + len("before") == row.index("0.125") + len("0.125")


def test_a_narrow_terminal_wraps_cells_and_cuts_none() -> None:
    text = "".join("".join(printed(20)).split())
    assert "…" not in text
    assert sum(map(str.isdigit, text)) == len("0125123456789")
