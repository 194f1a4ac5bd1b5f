"""Scores on the terminal."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from rich.console import Console
from rich.table import Table

from rvpo.evaluate.benchmark import BenchmarkSummary, Score

_HEADINGS: Final = ("value", "95 % interval", "over")
_JUDGED: Final = ("known", "possible")
_UNKNOWN: Final = (
    "unknown verdicts leave a score's sums, so it may lie outside what is possible, which has the "
    "worst and the best in their place; the same command asks them again"
)


def show(
    console: Console, benchmark: str, model: str, summary: BenchmarkSummary, folder: Path
) -> None:
    """A table of one model's scores."""
    table = Table(
        title=f"{benchmark}, {model}", title_justify="left", box=None, padding=(0, 1, 0, 0)
    )
    table.add_column("score", overflow="fold")
    judged = any(score.coverage is not None for score in summary.scores.values())
    for heading in (*_HEADINGS, *(_JUDGED if judged else ())):
        table.add_column(heading, justify="right")
    for name, score in summary.scores.items():
        table.add_row(name, *_cells(score), *(_judged(score) if judged else ()))
    console.print(table)
    for name, value in summary.about.items():
        if said := _said(value):
            console.print(f"{name}: {said}", style="dim", highlight=False)
    if any(score.coverage not in (None, 1) for score in summary.scores.values()):
        console.print(_UNKNOWN, style="dim", highlight=False)
    console.print(f"everything: {folder}", highlight=False)


def show_curve(
    console: Console, benchmark: str, summaries: Mapping[str, BenchmarkSummary], picture: Path
) -> None:
    """The quoted score of several models, one below the other, and where all curves are."""
    headline = next(iter(summaries.values())).quoted
    table = Table(title=f"{benchmark}: {headline}", title_justify="left", box=None)
    table.add_column("model", overflow="fold")
    for heading in _HEADINGS:
        table.add_column(heading, justify="right")
    for model, summary in summaries.items():
        table.add_row(model, *_cells(summary.scores[headline]))
    console.print(table)
    console.print(f"curves: {picture}", highlight=False)


def _said(value: Any) -> str:
    """A value that fits on a line: text, number, or counts by name; empty for any other."""
    if isinstance(value, Mapping):
        is_counts = all(isinstance(each, int | float) for each in value.values())
        return ", ".join(f"{name} {n:,.6g}" for name, n in value.items()) if is_counts else ""
    return str(value) if isinstance(value, str | int | float) else ""


def _cells(score: Score) -> tuple[str, str, str]:
    value = "-" if score.value is None else f"{score.value:.3f}"
    return value, _range(score.interval), f"{score.count:,}"


def _judged(score: Score) -> tuple[str, str]:
    known = "-" if score.coverage is None else f"{score.coverage:.0%}"
    return known, _range(score.possible)


def _range(ends: tuple[float, float] | None) -> str:
    return "-" if ends is None else "{:.3f} to {:.3f}".format(*ends)
