"""The figure of rewards that pull together or apart."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from matplotlib.figure import Figure

from rvpo.page.compared import compared_by
from rvpo.page.history import PageArm
from rvpo.page.panels import Plot, Theme, count_of, grid
from rvpo.report.curves import Floats
from rvpo.report.picture import label

CORRELATION_STEPS = 10
"""Correlations are taken over the samples of so many last steps."""


def correlation(arms: Sequence[PageArm]) -> Plot | None:
    names: list[str] = []
    matrices = []
    for arm in arms:
        rows = [row["z"] for run in arm.runs for row in run.samples(CORRELATION_STEPS)]
        names = names or list(dict.fromkeys(name for row in rows for name in row))
        z = np.array([[_number(row.get(name)) for name in names] for row in rows])
        matrices.append(_correlations(z.reshape(len(rows), len(names))))
    if len(names) < 2:
        return None
    caption = (
        f"Pearson correlation of the rewards ({compared_by(arms)}) within groups, over the last "
        f"{CORRELATION_STEPS} steps; blank where a reward did not vary; {count_of(arms)}"
    )

    def draw(theme: Theme) -> Figure:
        side = 0.5 + 0.2 * len(names)
        names_in = 0.08 * max(map(len, names))
        figure, panels = grid(len(arms), height=side + names_in + 0.6, width=side + names_in + 1.0)
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
