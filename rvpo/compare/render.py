"""The verdict on the terminal."""

from __future__ import annotations

import math
from collections.abc import Sequence

from rich.table import Table

from rvpo.compare.neglect import Scale
from rvpo.compare.verdict import INTERVAL, TEST, MetricRow, Stage
from rvpo.report.tables import make_table, shown, span

TITLES: dict[Stage, str] = {
    "final": "Held-out prompts after the last step",
    "peak": "Held-out prompts at each run's best step, metric by metric",
}


def render(rows: Sequence[MetricRow], stage: Stage, seeds: int) -> Table:
    """Table of a stage."""
    table = make_table(
        ("metric", "first", "second"),
        ("first", "second", "change", "95 % interval", "d", "p"),
        title=f"{TITLES[stage]}, {seeds} seed{'s' if seeds > 1 else ''}",
        caption=f"change: second minus first. Interval: {INTERVAL}. p: {TEST}. d: Cohen's d_z.",
    )
    before = ""
    for row in (row for row in rows if row.stage == stage):
        name = "" if row.metric == before else row.metric
        table.add_row(name, row.first, row.second, *_cells(row))
        before = row.metric
    return table


def explain(scale: Scale, columns: Sequence[str]) -> str:
    """State the thresholds on which the metrics of neglect rest."""
    thresholds = ", ".join(
        f"{name} {threshold:.3g}" if math.isfinite(threshold) else f"{name} unknown"
        for name, threshold in zip(columns, scale.thresholds, strict=True)
    )
    return (
        f"satisfied from {thresholds}; a response's mean of scaled scores is high from "
        f"{scale.high_mean:.3g}"
    )


def _cells(row: MetricRow) -> list[str]:
    return [
        shown(row.first_mean, ".3f"),
        shown(row.second_mean, ".3f"),
        shown(row.difference, "+.3f"),
        span(row.interval, "+.3f"),
        shown(row.effect_size, "+.1f"),
        shown(row.p_holm, ".2g"),
    ]
