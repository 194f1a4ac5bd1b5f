"""The verdict on the terminal."""

from __future__ import annotations

from collections.abc import Sequence

from rich.table import Table

from rvpo.compare.neglect import Scale
from rvpo.compare.verdict import INTERVAL, TEST, MetricRow, Stage

TITLES: dict[Stage, str] = {
    "final": "Held-out prompts after the last step",
    "peak": "Held-out prompts at each run's best step, metric by metric",
}


def render(rows: Sequence[MetricRow], stage: Stage, seeds: int) -> Table:
    """Table of a stage."""
    table = Table(
        title=f"{TITLES[stage]}, {seeds} seed{'s' if seeds > 1 else ''}",
        caption=f"change: second minus first. Interval: {INTERVAL}. p: {TEST}. d: Cohen's d_z.",
        caption_justify="left",
        box=None,
        padding=(0, 1, 0, 0),
    )
    table.add_column("metric", overflow="fold")
    table.add_column("first", overflow="fold")
    table.add_column("second", overflow="fold")
    for heading in ("first", "second", "change", "95 % interval", "d", "p"):
        table.add_column(heading, justify="right", overflow="fold")
    before = ""
    for row in (row for row in rows if row.stage == stage):
        name = "" if row.metric == before else row.metric
        table.add_row(name, row.first, row.second, *_cells(row))
        before = row.metric
    return table


def explain(scale: Scale, columns: Sequence[str]) -> str:
    """State the thresholds on which the metrics of neglect rest."""
    thresholds = ", ".join(
        f"{name} {threshold:.3g}" for name, threshold in zip(columns, scale.thresholds, strict=True)
    )
    return (
        f"satisfied from {thresholds}; a response's mean of scaled scores is high from "
        f"{scale.high_mean:.3g}"
    )


def _cells(row: MetricRow) -> list[str]:
    if row.difference is None or row.interval is None:
        return ["-"] * 6
    return [
        f"{row.first_mean:.3f}",
        f"{row.second_mean:.3f}",
        f"{row.difference:+.3f}",
        "{:+.3f} to {:+.3f}".format(*row.interval),
        "-" if row.effect_size is None else f"{row.effect_size:+.1f}",
        "-" if row.p_holm is None else f"{row.p_holm:.2g}",
    ]
