"""The figures of a page. Each says in its caption which runs, band and smoothing it shows."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from rvpo.compare.neglect import BETTER, Scale, counts
from rvpo.page.history import PageArm, reward_names
from rvpo.report.curves import COLOURS, Floats, trailing_mean
from rvpo.report.picture import label
from rvpo.report.record import PHASES

CORRELATION_STEPS = 10
"""Correlations are taken over the samples of so many last steps."""


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


def plots(arms: Sequence[PageArm], satisfied: Mapping[str, float]) -> list[Plot]:
    """Every figure that the runs have numbers for.

    Args:
        satisfied: see `Scale.of`.
    """
    names = reward_names(arms)
    found: list[Plot | None] = [_rewards(arms, names), *_held_out(arms, satisfied)]
    found += _benchmarks(arms)
    found += [_who_decides(arms, names, "bottleneck")]
    found += [_who_decides(arms, names, "weight"), _correlation(arms), _advantages(arms)]
    found += [_judge(arms), _phases(arms)]
    return [plot for plot in found if plot is not None]


# --- curves ---------------------------------------------------------------------------------------


def notes(arms: Sequence[PageArm]) -> list[str]:
    """Notes on what the page leaves out, with the reason."""
    columns = {e.columns for arm in arms for run in arm.runs for e in run.held_out.values()}
    if len(columns) < 2:
        return []
    return ["Held-out prompts are left out: the runs were scored by different rewards."]


def _rewards(arms: Sequence[PageArm], names: Sequence[str]) -> Plot:
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


def _judge(arms: Sequence[PageArm]) -> Plot | None:
    metrics = {
        "calls": "judge/requests",
        "share of verdicts missing": "judge/failed_frac",
        "share from the cache": "judge/cached_frac",
        "seconds waited for": "judge/wait_exposed_s",
        "median seconds of a call": "judge/latency_p50_s",
        "groups left out": "judge/skipped_groups",
        "cost in $": "judge/cost",
    }
    return _known_panels("The judge", arms, metrics)


def _known_panels(title: str, arms: Sequence[PageArm], metrics: Mapping[str, str]) -> Plot | None:
    logged = {key for arm in arms for run in arm.runs for row in run.metrics[-1:] for key in row}
    known = {label: key for label, key in metrics.items() if key in logged}
    return _panels(title, "of a step", arms, known) if known else None


def _panels(title: str, about: str, arms: Sequence[PageArm], metrics: Mapping[str, str]) -> Plot:
    window = _window(arms)
    smoothing = f"mean of the last {window} steps" if window > 1 else "not smoothed"
    caption = f"{about}; line: mean of the runs, {smoothing}; {_runs(arms)}"

    def draw(theme: Theme) -> Figure:
        figure, panels = _grid(len(metrics))
        for axes, (name, key) in zip(panels, metrics.items(), strict=False):
            for arm, colour in zip(arms, _colours(arms, theme), strict=True):
                steps, values = arm.curve(key)
                smooth = np.stack([trailing_mean(run, window) for run in values])
                _band(axes, steps, smooth, colour, arm.name)
            _finish(axes, name)
        _legend(figure, arms, theme)
        return figure

    return Plot(title, caption, draw)


def _held_out(arms: Sequence[PageArm], satisfied: Mapping[str, float]) -> list[Plot]:
    """Plots of every reward, and of the metrics of neglect where there is more than one."""
    every = [e for arm in arms for run in arm.runs for e in run.held_out.values()]
    if not every or len({e.columns for e in every}) > 1:
        return []
    scale = Scale.of(every, satisfied)
    found = [
        [
            {s: {n: c.whole for n, c in counts(e, scale).items()} for s, e in run.held_out.items()}
            for run in arm.runs
        ]
        for arm in arms
    ]
    caption = (
        f"over {len(every[0].prompt_ids)} prompts that are never trained on, after each step at "
        f"which they were scored; not smoothed; {_runs(arms)}"
    )
    rewards = _evaluated("Held-out prompts", f"mean {caption}", arms, found, every[0].reward_names)
    if len(every[0].columns) < 2:
        return [rewards]
    limits = ", ".join(
        f"{name} from {limit:.3g}"
        for name, limit in zip(every[0].columns, scale.thresholds, strict=True)
    )
    caption = f"{caption}; satisfied: {limits}"
    return [rewards, _evaluated("Neglect on held-out prompts", caption, arms, found, list(BETTER))]


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
            f"{_runs(arms)}"
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
        figure, panels = _grid(len(names))
        for axes, name in zip(panels, names, strict=False):
            for arm, runs, colour in zip(arms, found, _colours(arms, theme), strict=True):
                steps = sorted({step for run in runs for step in run})
                values = [[run.get(s, {}).get(name, math.nan) for s in steps] for run in runs]
                _band(axes, np.array(steps, float), np.array(values, float), colour, arm.name, "o")
            _finish(axes, name)
        _legend(figure, arms, theme)
        return figure

    return Plot(title, caption, draw)


def _who_decides(arms: Sequence[PageArm], names: Sequence[str], kind: str) -> Plot | None:
    logged = {key for arm in arms for run in arm.runs for row in run.metrics[-1:] for key in row}
    shown = [name for name in names if f"advantage/{kind}/{name}" in logged]
    if not shown:
        return None
    window = _window(arms)
    about = {
        "bottleneck": "share of the samples whose lowest z is this reward's",
        "weight": "the reward's share of the advantage, the mean of ∂A/∂Z",
    }[kind]
    caption = f"{about}; mean of the runs, and of the last {window} steps; {_count(arms)}"

    def draw(theme: Theme) -> Figure:
        figure, panels = _grid(len(arms))
        styles = [(s, c) for s in ("-", "--", ":", "-.") for c in (*COLOURS[:-1], theme.black)]
        for axes, arm in zip(panels, arms, strict=False):
            for place, name in enumerate(shown):
                steps, values = arm.curve(f"advantage/{kind}/{name}")
                style, colour = styles[place % len(styles)]
                mean = trailing_mean(_mean(values), window)
                axes.plot(steps, mean, style, color=colour, label=label(name))
            _finish(axes, arm.name)
        handles, labels = panels[0].get_legend_handles_labels()
        figure.legend(handles, labels, loc="outside lower left", ncols=4, frameon=False)
        return figure

    title = {"bottleneck": "Which reward is the lowest", "weight": "Which reward decides"}[kind]
    return Plot(title, caption, draw)


# --- other figures --------------------------------------------------------------------------------


def _correlation(arms: Sequence[PageArm]) -> Plot | None:
    names: list[str] = []
    matrices = []
    for arm in arms:
        rows = [row["z"] for run in arm.runs for row in run.samples(CORRELATION_STEPS)]
        names = names or sorted({name for row in rows for name in row})
        z = np.array([[_number(row.get(name)) for name in names] for row in rows])
        matrices.append(_correlations(z.reshape(len(rows), len(names))))
    if len(names) < 2:
        return None
    caption = (
        f"Pearson correlation of the rewards' z within groups, over the samples of the last "
        f"{CORRELATION_STEPS} steps; blank where a reward did not vary; {_count(arms)}"
    )

    def draw(theme: Theme) -> Figure:
        figure, panels = _grid(len(arms), height=0.9 + 0.22 * len(names) + 1.4)
        for axes, arm, matrix in zip(panels, arms, matrices, strict=False):
            image = axes.imshow(matrix, cmap="RdBu", vmin=-1, vmax=1)
            axes.set_xticks(range(len(names)), list(map(label, names)), rotation=90)
            axes.set_yticks(range(len(names)), list(map(label, names)))
            axes.set_title(label(arm.name), loc="left", fontsize=9)
            if len(names) <= 6:
                for i, j in zip(*np.isfinite(matrix).nonzero(), strict=True):
                    colour = "white" if abs(matrix[i, j]) > 0.5 else "#333333"
                    text = f"{matrix[i, j]:.2f}"
                    axes.text(j, i, text, ha="center", va="center", color=colour)
        figure.colorbar(image, ax=panels[: len(arms)], shrink=0.7)
        return figure

    return Plot("Rewards that pull together or apart", caption, draw)


def _phases(arms: Sequence[PageArm]) -> Plot:
    caption = f"seconds of a step, median over the steps of all runs; {_count(arms)}"

    def draw(theme: Theme) -> Figure:
        figure = Figure(figsize=(8, 0.8 + 0.4 * len(arms)), dpi=120, layout="constrained")
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


# --- parts ----------------------------------------------------------------------------------------


def _grid(count: int, height: float = 2.3) -> tuple[Figure, list[Axes]]:
    columns = min(3, count)
    rows = math.ceil(count / columns)
    figure = Figure(figsize=(3.4 * columns + 0.4, height * rows + 0.4), dpi=120)
    figure.set_layout_engine("constrained")
    panels = list(figure.subplots(rows, columns, squeeze=False).flat)
    for axes in panels[count:]:
        axes.set_visible(False)
    return figure, panels


def _band(
    axes: Axes, steps: Floats, values: Floats, colour: str, name: str, marker: str | None = None
) -> None:
    """The mean of the runs, and from the lowest to the highest of them."""
    few = marker or ("o" if len(steps) < 3 else None)
    known = np.isfinite(values).any(axis=0)
    if not known.any():
        return
    steps, values = steps[known], values[:, known]
    axes.plot(steps, _mean(values), color=colour, label=label(name), marker=few, markersize=3)
    if len(values) > 1:
        low, high = np.nanmin(values, axis=0), np.nanmax(values, axis=0)
        axes.fill_between(steps, low, high, color=colour, alpha=0.18, linewidth=0)


def _finish(axes: Axes, title: str) -> None:
    axes.set_title(label(title), loc="left", fontsize=9)
    axes.grid(alpha=0.6, linewidth=0.5)
    axes.spines[["top", "right"]].set_visible(False)
    axes.locator_params(axis="x", integer=True, nbins=5)
    axes.set_xlabel("step", loc="right", fontsize=8)


def _legend(figure: Figure, arms: Sequence[PageArm], theme: Theme) -> None:
    from matplotlib.lines import Line2D

    lines = [Line2D([], [], color=colour) for colour in _colours(arms, theme)]
    names = [label(arm.name) for arm in arms]
    # At the left, where a narrow screen begins.
    figure.legend(lines, names, loc="outside lower left", ncols=4, frameon=False)


def _colours(arms: Sequence[PageArm], theme: Theme) -> list[str]:
    palette = (*COLOURS[:-1], theme.black)
    return [palette[place % len(palette)] for place in range(len(arms))]


def _window(arms: Sequence[PageArm]) -> int:
    longest = max(len(run.metrics) for arm in arms for run in arm.runs)
    return min(25, max(1, longest // 10))


def _count(arms: Sequence[PageArm]) -> str:
    counts = {len(arm.runs) for arm in arms}
    if counts == {1}:
        return f"{len(arms)} run{'s' if len(arms) > 1 else ''}"
    few = f"{min(counts)} to " if len(counts) > 1 else ""
    return f"{few}{max(counts)} runs an arm"


def _runs(arms: Sequence[PageArm]) -> str:
    """Number of runs, for figures that draw a band where there are several."""
    if {len(arm.runs) for arm in arms} == {1}:
        return _count(arms)
    return f"{_count(arms)}, band: from the lowest to the highest of them"


def _mean(values: Floats) -> Floats:
    """[T] over the runs that have a value."""
    present = np.isfinite(values)
    with np.errstate(invalid="ignore"):
        mean: Floats = np.where(present, values, 0.0).sum(axis=0) / present.sum(axis=0)
    return mean


def _median(arm: PageArm, metric: str) -> float:
    values = [row[metric] for run in arm.runs for row in run.metrics if metric in row]
    return float(np.median(values)) if values else 0.0


def _number(value: float | None) -> float:
    return math.nan if value is None else value


def _correlations(z: Floats) -> Floats:
    """[M, M] over the rows that have both."""
    count = z.shape[1]
    matrix = np.full((count, count), np.nan)
    for i, j in np.ndindex(count, count):
        both = np.isfinite(z[:, i]) & np.isfinite(z[:, j])
        a, b = z[both, i], z[both, j]
        if len(a) > 1 and a.std() > 0 and b.std() > 0:
            matrix[i, j] = float(np.corrcoef(a, b)[0, 1])
    return matrix
