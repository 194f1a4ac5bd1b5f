"""Reliability of judged criteria: its curves, and where a soft minimum follows noise."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import numpy as np
from matplotlib.figure import Figure

from rvpo.advantage.diagnostics import NOISY
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

_MUCH: Final = 0.1
"""Share of samples from which noise is worth a sentence."""


def reliability(arms: Sequence[PageArm]) -> Plot | None:
    """A panel for each criterion or class whose verdicts were asked for again."""
    parts = _parts(arms)
    if not parts:
        return None
    caption = (
        "share of what sets the samples of a prompt apart that the judge finds again when it is "
        "asked again; line: mean of the runs, with the interval of 95 %, as wide as it is in one "
        f"run; old repeats fade; {runs_of(arms)}"
    )

    def draw(theme: Theme) -> Figure:
        figure, panels = grid(len(parts))
        for axes, part in zip(panels, parts, strict=False):
            for arm, colour in zip(arms, colours(arms, theme), strict=True):
                steps, values = arm.curve(_metric(part))
                low, high = (mean_of(arm.curve(_metric(part, e))[1]) for e in ("low", "high"))
                band(axes, steps, mean_of(values)[None], colour, arm.name)
                axes.fill_between(steps, low, high, color=colour, alpha=0.18, linewidth=0)
            axes.set_ylim(-0.02, 1.02)
            axes.axhline(NOISY, color=theme.grid, linewidth=0.8)
            finish(axes, part)
        legend(figure, arms, theme)
        return figure

    return Plot("Reliability of criteria", caption, draw)


def noise_notes(arms: Sequence[PageArm]) -> list[str]:
    """A sentence for each arm in which the lowest z-score is often noise."""
    return [sentence for arm in arms if (sentence := _note(arm))]


def _note(arm: PageArm) -> str:
    share = _last(arm, "advantage/noisy_bottleneck")
    if share is None or share < _MUCH:
        return ""
    noisy = [part for part in _parts([arm]) if (_last(arm, _metric(part)) or 0.0) < NOISY]
    steps = window_of([arm])
    when = f"in the last {steps} steps" if steps > 1 else "in the last step"
    named = "; ".join(_found(arm, part) for part in noisy)
    shrunk = "its z-scores are shrunk by that"
    remedy = "advantage.weight_by_reliability: true shrinks such z-scores"
    weighs = arm.runs[0].config.advantage.weight_by_reliability
    return (
        f"{arm.name}: {when} the lowest z-score of {share:.0%} of the samples was of a reward of "
        f"reliability below a half ({named}). Where the lowest decides, as in a soft minimum, the "
        f"policy follows the judge's noise there; {shrunk if weighs else remedy}."
    )


def _found(arm: PageArm, part: str) -> str:
    """The estimate with its interval."""
    value, low, high = (_last(arm, _metric(part, end)) or 0.0 for end in ("", "low", "high"))
    return f"{part} {value:.2f}, {low:.2f} to {high:.2f}"


def _last(arm: PageArm, metric: str) -> float | None:
    """Mean over the last steps of an arm's runs; None where none has the metric."""
    _, values = arm.curve(metric)
    last = values[:, -window_of([arm]) :]
    known = last[np.isfinite(last)]
    return float(known.mean()) if known.size else None


def _parts(arms: Sequence[PageArm]) -> list[str]:
    """Criteria and classes, and rewards that have neither."""
    keys = dict.fromkeys(
        key for arm in arms for run in arm.runs for row in run.metrics for key in row
    )
    parts = [
        key.removeprefix("judge/").removesuffix("/reliability")
        for key in keys
        if key.startswith("judge/") and key.endswith("/reliability")
    ]
    return [part for part in parts if not any(other.startswith(f"{part}/") for other in parts)]


def _metric(part: str, end: str = "") -> str:
    return f"judge/{part}/reliability" + (f"_{end}" if end else "")
