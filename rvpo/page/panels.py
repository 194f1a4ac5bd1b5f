"""Parts of figures: their colours, their panels, and the legend that says what is what."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from rvpo.page.history import PageArm
from rvpo.report.curves import COLOURS, Floats
from rvpo.report.picture import label

DPI = 120
"""Pixels for each inch of a figure."""
_NARROWEST, _WIDEST = 3.8, 10.6
"""Inches of a figure of one panel, and of all panels beside one another."""


@dataclass(frozen=True)
class Theme:
    """Colours of a figure that depend on the page's."""

    text: str
    grid: str
    black: str
    """Colour in place of the palette's black, which would be lost on a dark page."""

    def rc(self, **others: Any) -> Any:
        """Settings for matplotlib, whose type lists every name there is."""
        coloured = ("text.color", "axes.labelcolor", "xtick.color", "ytick.color", "axes.edgecolor")
        return dict.fromkeys(coloured, self.text) | {
            "grid.color": self.grid,
            "figure.facecolor": "none",
            "axes.facecolor": "none",
            "savefig.facecolor": "none",
            "font.size": 9,
            **others,
        }


THEMES = {
    "light": Theme(text="#1f2328", grid="#d8dce1", black="#000000"),
    "dark": Theme(text="#e6e8eb", grid="#3a4048", black="#f0f0f0"),
}


@dataclass(frozen=True)
class Plot:
    """A figure that can be drawn in any theme."""

    title: str
    caption: str
    draw: Callable[[Theme], Figure]


def grid(count: int, height: float = 2.3, width: float = 3.4) -> tuple[Figure, list[Axes]]:
    """A figure of panels side by side, each of this size in inches."""
    columns = max(1, min(count, int(_WIDEST / width)))
    rows = math.ceil(count / columns)
    size = (max(_NARROWEST, width * columns + 0.4), height * rows + 0.4)
    figure = Figure(figsize=size, dpi=DPI)
    figure.set_layout_engine("constrained")
    panels = list(figure.subplots(rows, columns, squeeze=False).flat)
    for axes in panels[count:]:
        axes.set_visible(False)
    return figure, panels


def band(
    axes: Axes, steps: Floats, values: Floats, colour: str, name: str, marker: str | None = None
) -> None:
    """The mean of the runs, and from the lowest to the highest of them."""
    few = marker or ("o" if len(steps) < 3 else None)
    known = np.isfinite(values).any(axis=0)
    if not known.any():
        return
    steps, values = steps[known], values[:, known]
    axes.plot(steps, mean_of(values), color=colour, label=label(name), marker=few, markersize=3)
    if len(values) > 1:
        low, high = np.nanmin(values, axis=0), np.nanmax(values, axis=0)
        axes.fill_between(steps, low, high, color=colour, alpha=0.18, linewidth=0)


def finish(axes: Axes, title: str) -> None:
    axes.set_title(label(title), loc="left", fontsize=9)
    axes.grid(alpha=0.6, linewidth=0.5)
    axes.spines[["top", "right"]].set_visible(False)
    axes.locator_params(axis="x", integer=True, nbins=5)
    axes.set_xlabel("step", loc="right", fontsize=8)


def legend(figure: Figure, arms: Sequence[PageArm], theme: Theme) -> None:
    """Say which arm has which colour."""
    lines = [Line2D([], [], color=colour) for colour in colours(arms, theme)]
    name_lines(figure, lines, [label(arm.name) for arm in arms])


def name_lines(figure: Figure, lines: Sequence[Artist], names: Sequence[str]) -> None:
    """Name lines below the panels, in as many columns as fit; the figure grows by their rows."""
    width, height = figure.get_size_inches()
    columns = max(1, min(len(names), int(width / (0.6 + 0.08 * max(map(len, names))))))
    figure.set_size_inches(width, height + 0.18 * (math.ceil(len(names) / columns) - 1))
    # At the left, where a narrow screen begins.
    figure.legend(lines, names, loc="outside lower left", ncols=columns, frameon=False)


def colours(arms: Sequence[PageArm], theme: Theme) -> list[str]:
    palette = (*COLOURS[:-1], theme.black)
    return [palette[place % len(palette)] for place in range(len(arms))]


def window_of(arms: Sequence[PageArm]) -> int:
    longest = max((len(run.metrics) for arm in arms for run in arm.runs), default=0)
    return min(25, max(1, longest // 10))


def count_of(arms: Sequence[PageArm]) -> str:
    counts = {len(arm.runs) for arm in arms}
    if counts == {1}:
        return f"{len(arms)} run{'s' if len(arms) > 1 else ''}"
    few = f"{min(counts)} to " if len(counts) > 1 else ""
    return f"{few}{max(counts)} runs an arm"


def runs_of(arms: Sequence[PageArm]) -> str:
    """Number of runs, for figures that draw a band where there are several."""
    if {len(arm.runs) for arm in arms} == {1}:
        return count_of(arms)
    return f"{count_of(arms)}, band: from the lowest to the highest of them"


def mean_of(values: Floats) -> Floats:
    """[T] over the runs that have a value."""
    present = np.isfinite(values)
    with np.errstate(invalid="ignore"):
        mean: Floats = np.where(present, values, 0.0).sum(axis=0) / present.sum(axis=0)
    return mean
