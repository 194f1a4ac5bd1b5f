"""`rvpo replay --page`: one HTML page of other estimators' lessons."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure

from rvpo.advantage.state import undivided
from rvpo.page.drawn import Drawn
from rvpo.page.panels import Plot, Theme, finish, grid, name_lines
from rvpo.page.template import rendered
from rvpo.replay.replayed import EstimatorReplay, RunReplay, StepReplay
from rvpo.report.curves import COLOURS, line_styles, trailing_mean
from rvpo.report.picture import label
from rvpo.report.run_folder import write_text

StepNumber = Callable[[StepReplay], float | None]


def write_replay_page(title: str, about: str, found: RunReplay, output: Path) -> Path:
    """Write the page; the file it is in.

    Args:
        title: name of the run.
        about: sentence on what was replayed.

    Raises:
        CheckpointError: it cannot be written.
    """
    names = undivided(found.aspects)
    rows = [
        {
            "title": each.title,
            "flipped": None if each.flipped is None else 100 * each.flipped,
            "order": each.order,
            "pulls": [each.pull(name) for name in names],
        }
        for each in found.every
    ]
    plots = [Drawn.of(plot) for plot in _plots(found, names)]
    page = rendered("replay.html.j2", title=title, about=about, names=names, rows=rows, plots=plots)
    write_text(output, page, "with another --page FILE")
    return output


def _plots(found: RunReplay, names: Sequence[str]) -> list[Plot]:
    pulls: dict[str, StepNumber] = {name: lambda step, n=name: step.pulls.get(n) for name in names}  # type: ignore[misc]
    caption = "share of what the advantages move; below 0 is pushed down"
    drawn = [_plot("Pull of each reward", caption, found.every, pulls)]
    if found.others:
        against: dict[str, StepNumber] = {
            "share of signs that flip": lambda step: (
                step.flips / step.trained if step.trained else None
            ),
            "order within a prompt": lambda step: step.order,
        }
        drawn.append(_plot("Against what trained", "of a step", found.others, against))
    return drawn


def _plot(
    title: str, about: str, every: Sequence[EstimatorReplay], panels: Mapping[str, StepNumber]
) -> Plot:
    steps = np.array([step.step for step in every[0].steps], dtype=np.float64)
    window = min(25, max(1, len(steps) // 10))
    smoothing = f"mean of the last {window} steps" if window > 1 else "not smoothed"

    def draw(theme: Theme) -> Figure:
        figure, axes = grid(len(panels))
        styles = line_styles(len(every), (*COLOURS[:-1], theme.black))
        for panel, (name, number) in zip(axes, panels.items(), strict=False):
            for each, style in zip(every, styles, strict=True):
                found = (number(step) for step in each.steps)
                values = np.array([math.nan if x is None else x for x in found])
                marker = "o" if len(steps) < 3 else None
                smooth = trailing_mean(values, window)
                panel.plot(steps, smooth, label=label(each.title), **({"marker": marker} | style))
            finish(panel, name)
        name_lines(figure, *axes[0].get_legend_handles_labels())
        return figure

    return Plot(title, f"{about}; {smoothing}", draw)
