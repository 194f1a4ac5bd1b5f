"""The figures of the gold watch: scores by both judges, and the gap between them."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.figure import Figure

from rvpo.page.history import PageArm
from rvpo.page.panels import Plot, Theme, band, colours, finish, grid, legend, mean_of, runs_of
from rvpo.report.curves import Floats
from rvpo.report.gold import GoldPart


def gold_watch(arms: Sequence[PageArm]) -> list[Plot]:
    """Both figures; none where no run was watched."""
    every = [scores for arm in arms for run in arm.runs for scores in run.gold.values()]
    if not every:
        return []
    names = list(dict.fromkeys(name for scores in every for name in scores.reward_names))
    judges = ", ".join(dict.fromkeys(scores.judge for scores in every))
    about = (
        "on the held-out answers that both judged, after each step at which they were; not "
        f"smoothed; {runs_of(arms)}"
    )
    return [
        _lines(
            "Training judge and gold judge",
            f"solid: mean score by the training judge, dashed: by {judges}; {about}",
            arms,
            dict.fromkeys(names, ("training", "gold")),
        ),
        _lines(
            "The gap between the judges",
            f"solid: training judge's mean score less that of {judges}, dashed: share of the "
            f"verdicts that only the training judge gives; {about}",
            arms,
            dict.fromkeys(names, ("gaps", "only_training")),
        ),
    ]


def _lines(
    title: str,
    caption: str,
    arms: Sequence[PageArm],
    readings: Mapping[str, tuple[GoldPart, GoldPart]],
) -> Plot:
    """Two lines an arm in a panel for each name; a band around the solid one."""

    def draw(theme: Theme) -> Figure:
        figure, panels = grid(len(readings))
        for axes, (name, (solid, dashed)) in zip(panels, readings.items(), strict=False):
            for arm, colour in zip(arms, colours(arms, theme), strict=True):
                steps, values = _read(arm, name, solid)
                band(axes, steps, values, colour, arm.name, "o")
                steps, values = _read(arm, name, dashed)
                axes.plot(steps, mean_of(values), color=colour, linestyle="--", marker=".")
            finish(axes, name)
        legend(figure, arms, theme)
        return figure

    return Plot(title, caption, draw)


def _read(arm: PageArm, name: str, reading: GoldPart) -> tuple[Floats, Floats]:
    """Steps [T], and a number of each run [runs, T] with NaN where it has none."""
    steps = sorted({step for run in arm.runs for step in run.gold})
    values = np.full((len(arm.runs), len(steps)), np.nan)
    for row, run in enumerate(arm.runs):
        for column, step in enumerate(steps):
            found = run.gold[step].mean(reading, name) if step in run.gold else None
            values[row, column] = math.nan if found is None else found
    return np.array(steps, dtype=np.float64), values
