"""Scores on the terminal."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from rich.console import Console

from rvpo.benchmarks.benchmark import BenchmarkSummary, Score
from rvpo.report.tables import make_table, shown, span

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
    judged = any(score.coverage is not None for score in summary.scores.values())
    headings = (*_HEADINGS, *(_JUDGED if judged else ()))
    table = make_table(["score"], headings, title=f"{benchmark}, {model}")
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
    table = make_table(["model"], _HEADINGS, title=f"{benchmark}: {headline}")
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
    return shown(score.value, ".3f"), span(score.interval, ".3f"), f"{score.count:,}"


def _judged(score: Score) -> tuple[str, str]:
    return shown(score.coverage, ".0%"), span(score.possible, ".3f")
