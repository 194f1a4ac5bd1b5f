"""The curves of one run as a picture."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from rvpo.errors import CheckpointError
from rvpo.report.picture import label, plain_texts
from rvpo.report.run_folder import writing
from rvpo.report.stored import read_metrics

COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
"""Okabe and Ito's palette, told apart with any colour vision; its yellow is too pale for lines."""

Floats = npt.NDArray[np.float64]

_LINE_INCHES, _LETTER_INCHES = 0.22, 0.09
"""Height of a line of the legend, and about the width of a letter of it."""

SHARES = {
    "advantage/pull": "share of what\nthe advantages move",
    "advantage/weight": "weight in the advantage",
    "advantage/bottleneck": "share of samples\nwhere it is lowest",
}
"""Metrics of what each reward has in the advantage: the first one that a run logged is drawn."""


@plain_texts()
def draw_curves(
    metrics_path: Path, reward_names: Sequence[str], output_png: Path, title: str
) -> None:
    """Draw the mean of each reward over the steps of a run.

    Below them, where the run logged it, goes what each reward has in the advantage: its pull
    (`advantage/pull/{name}`), or else its weight (`advantage/weight/{name}`), or how often it was
    the lowest (`advantage/bottleneck/{name}`). The figure states its smoothing.

    Args:
        metrics_path: a `metrics.jsonl`.
        reward_names: [M] rewards to draw, in the order of the legend.
        output_png: the file to write.
        title: the heading, such as the run's name.

    Raises:
        CheckpointError: the run has no steps, a line is damaged, or the picture may not be
            written.
    """
    history = read_metrics(metrics_path)
    if not history:
        raise CheckpointError(f"{metrics_path} holds no steps, so there are no curves to draw")
    logged = {key for metrics in history for key in metrics}
    share = next((s for s in SHARES if any(f"{s}/{name}" in logged for name in reward_names)), None)
    window = min(25, max(1, len(history) // 6))

    height = 6.5 if share else 4.2
    columns = math.ceil(len(reward_names) / int(height / _LINE_INCHES))
    beside = max(map(len, reward_names), default=0) * _LETTER_INCHES + 0.6
    size = (9 + (columns - 1) * beside, height)
    figure = Figure(figsize=size, dpi=150, layout="constrained")
    panels = figure.subplots(
        2 if share else 1, 1, sharex=True, squeeze=False, height_ratios=[3, 2] if share else [1]
    )[:, 0]
    _plot(panels[0], history, {name: f"rewards/{name}/mean" for name in reward_names}, window)
    panels[0].set_ylabel("mean reward of the step")
    panels[0].set_title(label(title), loc="left", fontweight="bold")
    figure.legend(
        *panels[0].get_legend_handles_labels(),
        loc="outside right upper",
        ncols=max(1, columns),
        frameon=False,
    )
    if share:
        _plot(panels[1], history, {name: f"{share}/{name}" for name in reward_names}, window)
        panels[1].set_ylabel(SHARES[share])
        panels[1].set_ylim(bottom=min(0.0, panels[1].get_ylim()[0]))
    panels[-1].set_xlabel(f"optimizer step\n{_caption(history, window)}")
    with writing(output_png):
        figure.savefig(output_png)


def _plot(
    axes: Axes, history: Sequence[Mapping[str, float]], keys: Mapping[str, str], window: int
) -> None:
    """Draw one line for each label, its metric faint and smoothed; missing values leave gaps."""
    steps = [metrics["step"] for metrics in history]
    few = len(steps) < 3  # a line through one point cannot be seen
    for (name, key), style in zip(keys.items(), line_styles(len(keys), COLOURS), strict=True):
        values = np.array([metrics.get(key, np.nan) for metrics in history])
        if window > 1:
            axes.plot(steps, values, color=style["color"], alpha=0.2, linewidth=0.8)
        marked = {**style, **({"marker": "o", "markevery": None} if few else {})}
        axes.plot(steps, trailing_mean(values, window), label=label(name), **marked)
    axes.grid(alpha=0.25)
    axes.spines[["top", "right"]].set_visible(False)
    axes.locator_params(axis="x", integer=True)


def line_styles(count: int, palette: Sequence[str]) -> list[dict[str, Any]]:
    """Arguments of `plot` that tell lines apart, as many as there are colours, dashes and marks."""
    kinds = product((None, "o", "^", "s"), ("-", "--", ":", "-."), palette)
    found = [
        {"linestyle": dash, "color": colour}
        | ({"marker": mark, "markersize": 3, "markevery": 0.1} if mark else {})
        for mark, dash, colour in kinds
    ]
    return [found[place % len(found)] for place in range(count)]


def _caption(history: Sequence[Mapping[str, float]], window: int) -> str:
    smoothing = (
        f"bold: mean of the last {window} steps; faint: each step" if window > 1 else "not smoothed"
    )
    k = [metrics["rvpo/k"] for metrics in history if "rvpo/k" in metrics]
    if not k:
        return f"1 run; {smoothing}"
    return f"1 run; {smoothing}; k = {k[0]:.3g}" + (f" to {k[-1]:.3g}" if k[-1] != k[0] else "")


def trailing_mean(values: Floats, window: int) -> Floats:
    """[S] mean of each value and the up to `window` - 1 before it; NaN counts as missing."""
    means = np.full(len(values), np.nan)
    for i in range(len(values)):
        recent = values[max(0, i - window + 1) : i + 1]
        present = recent[np.isfinite(recent)]
        if np.isfinite(values[i]):
            means[i] = present.mean()
    return means
