"""Reliability of judged criteria: its curves, and where a soft minimum follows noise."""

from __future__ import annotations

from collections.abc import Sequence

from matplotlib.figure import Figure

from rvpo.agreement import NOISY
from rvpo.page.history import PageArm
from rvpo.page.panels import (
    Plot,
    Theme,
    band,
    colours,
    finish,
    grid,
    legend,
    mean_of,
    runs_of,
    window_of,
)
from rvpo.report.noise import metric, noise, parts


def reliability(arms: Sequence[PageArm]) -> Plot | None:
    """A panel for each criterion or class whose verdicts were asked for again."""
    shown = _parts(arms)
    if not shown:
        return None
    caption = (
        "share of what sets the samples of a prompt apart that the judge finds again when it is "
        "asked again; line: mean of the runs, with the interval of 95 %, as wide as it is in one "
        f"run; old repeats fade; {runs_of(arms)}"
    )

    def draw(theme: Theme) -> Figure:
        figure, panels = grid(len(shown))
        for axes, part in zip(panels, shown, strict=False):
            for arm, colour in zip(arms, colours(arms, theme), strict=True):
                steps, values = arm.curve(metric(part))
                low, high = (mean_of(arm.curve(metric(part, e))[1]) for e in ("low", "high"))
                band(axes, steps, mean_of(values)[None], colour, arm.name)
                axes.fill_between(steps, low, high, color=colour, alpha=0.18, linewidth=0)
            axes.set_ylim(-0.02, 1.02)
            axes.axhline(NOISY, color=theme.grid, linewidth=0.8)
            finish(axes, part)
        legend(figure, arms, theme)
        return figure

    return Plot("Reliability of criteria", caption, draw)


def noise_notes(arms: Sequence[PageArm]) -> list[str]:
    """A sentence for each run in which what is lowest is often noise."""
    last, found = window_of(arms), []
    for arm in arms:
        for run in arm.runs:
            said = noise(run.metrics[-last:], run.config.advantage.weight_by_reliability)
            name = arm.name if len(arm.runs) == 1 else f"{arm.name}, seed {run.config.seed}"
            found += [f"{name}: {said}."] if said else []
    return found


def _parts(arms: Sequence[PageArm]) -> list[str]:
    """Everything that has a panel, of any run."""
    return parts([row for arm in arms for run in arm.runs for row in run.metrics])
