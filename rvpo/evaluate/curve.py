"""The scores of several models as a picture."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from rvpo.benchmarks.benchmark import BenchmarkSummary
from rvpo.report.curves import COLOURS
from rvpo.report.picture import label, plain_texts
from rvpo.report.run_folder import writing

MODELS_NAMED = 12
"""More names than these would lie on one another."""


@plain_texts()
def draw_curve(
    benchmark: str,
    summaries: Mapping[str, BenchmarkSummary],
    steps: Mapping[str, int | None],
    output_png: Path,
) -> None:
    """Draw the scores that a benchmark has curves of, over training steps where all models have
    one, else model by model; bars are 95 % intervals.

    Args:
        summaries: one for each model, in order.
        steps: each model's, where it comes from a run.

    Raises:
        CheckpointError: the disk is full, or the picture may not be written.
    """
    places = [steps[model] for model in summaries]
    known = [place for place in places if place is not None]
    in_order = len(set(known)) == len(places)
    figure = Figure(figsize=(7, 3.6), dpi=150, layout="constrained")
    axes = figure.subplots()
    x = np.array(known if in_order else range(len(places)), dtype=np.float64)
    names = dict.fromkeys(n for each in summaries.values() for n in each.curves if n in each.scores)
    for number, name in enumerate(names):
        found = [summary.scores.get(name) for summary in summaries.values()]
        values = np.array([np.nan if s is None or s.value is None else s.value for s in found])
        ends = np.array(
            [(np.nan, np.nan) if s is None or s.interval is None else s.interval for s in found]
        )
        bars = np.abs(ends - values[:, None]).T  # [2, models]
        colour = COLOURS[number % len(COLOURS)]
        axes.errorbar(x, values, bars, marker="o", capsize=2, color=colour, label=label(name))
    if in_order:
        axes.set_xlabel("optimizer step")
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    elif len(places) <= MODELS_NAMED:
        axes.set_xticks(x, list(map(label, summaries)), rotation=20, ha="right", fontsize=7)
    axes.set_title(f"{benchmark}, with 95 % intervals", loc="left", fontweight="bold")
    axes.spines[["top", "right"]].set_visible(False)
    figure.legend(loc="outside right upper", frameon=False)
    with writing(output_png):
        figure.savefig(output_png)
