"""The figures of a page. Each says in its caption which runs, band and smoothing it shows."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.figure import Figure

from rvpo.advantage.state import STATES
from rvpo.compare.neglect import BETTER, OF_THRESHOLDS, Scale, counts, of_columns
from rvpo.config.levels import good_enough
from rvpo.page.compared import compared_by
from rvpo.page.correlation import correlation
from rvpo.page.gold import gold_watch
from rvpo.page.history import PageArm, reward_names
from rvpo.page.panels import (
    DPI,
    Plot,
    Theme,
    band,
    colours,
    count_of,
    finish,
    grid,
    legend,
    mean_of,
    name_lines,
    runs_of,
    window_of,
)
from rvpo.page.reliability import noise_notes, reliability
from rvpo.report.curves import COLOURS, line_styles, trailing_mean
from rvpo.report.picture import label
from rvpo.report.record import PHASES


def plots(arms: Sequence[PageArm], satisfied: Mapping[str, float]) -> list[Plot]:
    """Every figure that the runs have numbers for.

    Args:
        satisfied: thresholds by column, in place of what the runs' settings say.
    """
    names = reward_names(arms)
    found: list[Plot | None] = [_rewards(arms, names), *_held_out(arms, satisfied)]
    found += _with_k(arms)
    found += [*gold_watch(arms), *_benchmarks(arms)]
    found += [_criteria(arms), *(_who_decides(arms, names, kind) for kind in _DECIDING)]
    found += [correlation(arms), _advantages(arms)]
    found += [*_judge(arms), reliability(arms), _phases(arms)]
    return [plot for plot in found if plot is not None]


# --- curves ---------------------------------------------------------------------------------------


def notes(arms: Sequence[PageArm]) -> list[str]:
    """Notes on what the page leaves out, with the reason, and on noise that training follows."""
    columns = {e.columns for arm in arms for run in arm.runs for e in run.held_out.values()}
    left_out = "Held-out prompts are left out: the runs were scored by different rewards."
    return [left_out] * (len(columns) > 1) + noise_notes(arms)


def _rewards(arms: Sequence[PageArm], names: Sequence[str]) -> Plot | None:
    if not names:  # as where the lines of all steps are lost
        return None
    return _panels(
        "Rewards during training",
        "mean reward of a step's samples",
        arms,
        {name: f"rewards/{name}/mean" for name in names},
    )


def _advantages(arms: Sequence[PageArm]) -> Plot | None:
    metrics = {
        "aggregate, before whitening: std": "advantage_raw/std",
        "advantage, after whitening: std": "advantage/std",
        "advantage: largest": "advantage/max",
        "gradient norm before clipping": "grad_norm",
        "variance penalty": "advantage/variance_penalty",
        "|A − Taylor|": "advantage/taylor_residual",
        "bound of |A − Taylor|": "advantage/taylor_bound",
        "entropy of the policy": "entropy",
    }
    return _known_panels("Advantages and gradients", arms, metrics)


def _criteria(arms: Sequence[PageArm]) -> Plot | None:
    shares: dict[str, str] = {state: f"criteria/{state}_frac" for state in STATES}
    return _known_panels("Share of the criteria in each state", arms, shares)


_OF_A_JUDGE = {
    "calls": "requests",
    "share of verdicts missing": "failed_frac",
    "share from the cache": "cached_frac",
    "seconds waited for": "wait_exposed_s",
    "median seconds of a call": "latency_p50_s",
    "groups left out": "skipped_groups",
    "cost in $": "cost",
}


def _judge(arms: Sequence[PageArm]) -> list[Plot | None]:
    """All judges together, and each of several."""
    found = (re.match("judges/([^/]+)/", key) for key in _logged(arms))
    names = sorted({match[1] for match in found if match})
    titles = {"The judges" if names else "The judge": "judge"}
    titles |= {f"Judge {name}": f"judges/{name}" for name in names}
    return [
        _known_panels(title, arms, {label: f"{prefix}/{n}" for label, n in _OF_A_JUDGE.items()})
        for title, prefix in titles.items()
    ]


def _known_panels(title: str, arms: Sequence[PageArm], metrics: Mapping[str, str]) -> Plot | None:
    logged = _logged(arms)
    known = {label: key for label, key in metrics.items() if key in logged}
    return _panels(title, "of a step", arms, known) if known else None


def _logged(arms: Sequence[PageArm]) -> set[str]:
    return {key for arm in arms for run in arm.runs for row in run.metrics[-1:] for key in row}


def _panels(title: str, about: str, arms: Sequence[PageArm], metrics: Mapping[str, str]) -> Plot:
    window = window_of(arms)
    smoothing = f"mean of the last {window} steps" if window > 1 else "not smoothed"
    caption = f"{about}; line: mean of the runs, {smoothing}; {runs_of(arms)}"

    def draw(theme: Theme) -> Figure:
        figure, panels = grid(len(metrics))
        for axes, (name, key) in zip(panels, metrics.items(), strict=False):
            for arm, colour in zip(arms, colours(arms, theme), strict=True):
                steps, values = arm.curve(key)
                smooth = np.stack([trailing_mean(run, window) for run in values])
                band(axes, steps, smooth, colour, arm.name)
            finish(axes, name)
        legend(figure, arms, theme)
        return figure

    return Plot(title, caption, draw)


def _held_out(arms: Sequence[PageArm], satisfied: Mapping[str, float]) -> list[Plot]:
    """Plots of every reward, and of the metrics of neglect where there is more than one."""
    every = [e for arm in arms for run in arm.runs for e in run.held_out.values()]
    if not every or len({e.columns for e in every}) > 1:
        return []
    declared = good_enough([run.config.rewards for arm in arms for run in arm.runs])
    scale = Scale.of(every, of_columns(every[0].columns, declared) | dict(satisfied))
    found = [
        [
            {s: {n: c.whole for n, c in counts(e, scale).items()} for s, e in run.held_out.items()}
            for run in arm.runs
        ]
        for arm in arms
    ]
    caption = (
        f"over {len(every[0].prompt_ids)} prompts that are never trained on, after each step at "
        f"which they were scored; not smoothed; {runs_of(arms)}"
    )
    rewards = _evaluated("Held-out prompts", f"mean {caption}", arms, found, every[0].reward_names)
    if len(every[0].columns) < 2:
        return [rewards]
    limits = ", ".join(
        f"{name} from {limit:.3g}" if math.isfinite(limit) else f"{name} unknown"
        for name, limit in zip(every[0].columns, scale.thresholds, strict=True)
    )
    caption = f"{caption}; satisfied: {limits}"
    told = [name for name in BETTER if scale.is_known or name not in OF_THRESHOLDS]
    return [rewards, _evaluated("Neglect on held-out prompts", caption, arms, found, told)]


def _with_k(arms: Sequence[PageArm]) -> list[Plot]:
    """A plot of success with k answers, where evaluations have it."""
    every = [e for arm in arms for run in arm.runs for e in run.held_out.values()]
    names = dict.fromkeys(name for e in every for name in e.at_k)
    if not names:
        return []
    found = [
        [{step: e.metrics() for step, e in run.held_out.items()} for run in arm.runs]
        for arm in arms
    ]
    caption = (
        "pass: chance that one of k answers is good; maj: that the one which most of k samples "
        f"give is; mean over prompts, from all samples of each; not smoothed; {runs_of(arms)}"
    )
    return [_evaluated("Held-out prompts, with k answers", caption, arms, found, list(names))]


def _benchmarks(arms: Sequence[PageArm]) -> list[Plot]:
    """A plot for each benchmark."""
    names = dict.fromkeys(name for arm in arms for run in arm.runs for name in run.benchmarks)
    plots = []
    for name in names:
        found = [[run.benchmarks.get(name, {}) for run in arm.runs] for arm in arms]
        scores = dict.fromkeys(
            s for runs in found for run in runs for at in run.values() for s in at
        )
        caption = (
            "of whole evaluations, after each step at which there was one; not smoothed; "
            f"{runs_of(arms)}"
        )
        if scores:
            plots.append(_evaluated(f"Benchmark {name}", caption, arms, found, list(scores)))
    return plots


ValuesByArm = Sequence[Sequence[Mapping[int, Mapping[str, float]]]]
"""Values by arm, run, step and metric."""


def _evaluated(
    title: str, caption: str, arms: Sequence[PageArm], found: ValuesByArm, names: Sequence[str]
) -> Plot:
    def draw(theme: Theme) -> Figure:
        figure, panels = grid(len(names))
        for axes, name in zip(panels, names, strict=False):
            for arm, runs, colour in zip(arms, found, colours(arms, theme), strict=True):
                steps = sorted({step for run in runs for step in run})
                values = [[run.get(s, {}).get(name, math.nan) for s in steps] for run in runs]
                band(axes, np.array(steps, float), np.array(values, float), colour, arm.name, "o")
            finish(axes, name)
        legend(figure, arms, theme)
        return figure

    return Plot(title, caption, draw)


_DECIDING = {
    "pull": (
        "What the advantages move",
        "the reward's share of what the advantages move, below 0 where what scores higher gets "
        "less",
    ),
    "bottleneck": (
        "Which reward is the lowest",
        "share of the samples that are lowest in this reward, by {compared}",
    ),
    "weight": (
        "Weights in the gradient",
        "the mean over samples of ∂A/∂Z, Z the {compared}, which misleads: the few samples that "
        "meet a rare reward are hardly in it, and they alone move it; the pull says what is moved",
    ),
}
"""Titles of the figures of what each reward has in the advantage, and what is drawn, by the name of
the metric; `compared` stands for the numbers that samples are compared by."""


def _who_decides(arms: Sequence[PageArm], names: Sequence[str], kind: str) -> Plot | None:
    logged = {key for arm in arms for run in arm.runs for row in run.metrics[-1:] for key in row}
    shown = [name for name in names if f"advantage/{kind}/{name}" in logged]
    if not shown:
        return None
    window = window_of(arms)
    title, about = _DECIDING[kind]
    about = about.format(compared=compared_by(arms))
    caption = f"{about}; mean of the runs, and of the last {window} steps; {count_of(arms)}"

    def draw(theme: Theme) -> Figure:
        figure, panels = grid(len(arms), width=6.8 if len(arms) == 1 and len(shown) > 12 else 3.4)
        styles = line_styles(len(shown), (*COLOURS[:-1], theme.black))
        for axes, arm in zip(panels, arms, strict=False):
            for name, style in zip(shown, styles, strict=True):
                steps, values = arm.curve(f"advantage/{kind}/{name}")
                mean = trailing_mean(mean_of(values), window)
                axes.plot(steps, mean, label=label(name), **style)
            finish(axes, arm.name)
        name_lines(figure, *panels[0].get_legend_handles_labels())
        return figure

    return Plot(title, caption, draw)


def _phases(arms: Sequence[PageArm]) -> Plot:
    caption = f"seconds of a step, median over the steps of all runs; {count_of(arms)}"

    def draw(theme: Theme) -> Figure:
        figure = Figure(figsize=(8, 0.8 + 0.4 * len(arms)), dpi=DPI, layout="constrained")
        axes = figure.subplots()
        left = np.zeros(len(arms))
        names = [label(arm.name) for arm in arms]
        for phase, colour in zip(PHASES, COLOURS, strict=False):
            seconds = np.array([_median(arm, f"timing/{phase}") for arm in arms])
            axes.barh(names, seconds, left=left, color=colour, label=phase)
            left += seconds
        axes.invert_yaxis()
        axes.set_xlabel("seconds")
        axes.spines[["top", "right"]].set_visible(False)
        figure.legend(loc="outside upper right", ncols=len(PHASES), frameon=False)
        return figure

    return Plot("Where the time goes", caption, draw)


def _median(arm: PageArm, metric: str) -> float:
    values = [row[metric] for run in arm.runs for row in run.metrics if metric in row]
    return float(np.median(values)) if values else 0.0
