"""DARA, GDPO-SAW, DVAO, GD2PO, CorrGRPO and SA-MRPO once more, a number at a time.

Plain floats and loops, written from each paper's equation: the weight v_ij of each z-score in its
row, or the numerator and the divisor of a row, as the equation has it.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Iterable, Iterator
from typing import Any

from rvpo.advantage import DARA, DVAO, GD2PO, GDPOSAW, SAMRPO, CorrGRPO
from rvpo.satisfied import Satisfied

from . import reference
from .reference import Expected, Row, Step

Field = DARA | GDPOSAW | DVAO | GD2PO | CorrGRPO | SAMRPO


def run(estimator: Any, step: Step, satisfied: Satisfied) -> Expected:
    """All that the estimator owes for the step, every reward satisfied by the same."""
    if estimator.missing == "zero":
        step = step.with_zeros()
    could = reference.trained_rows(estimator, step)
    kept = could
    if isinstance(estimator, GD2PO):
        kept = [i for i in could if not conflicting(estimator, step, i)]
    rows = {}
    for i in kept:
        terms = dict(row_terms(estimator, step, i, satisfied))
        if isinstance(estimator, GD2PO):
            share = sum(1 for n in step.siblings(i) if n in kept) / sum(
                1 for n in step.siblings(i) if n in could
            )
            terms = {j: (share * v, z) for j, (v, z) in terms.items()}
        total = sum(v for v, _ in terms.values())
        rows[i] = Row(
            value=sum(v * z for v, z in terms.values()),
            contribution={j: v / total if total else 0.0 for j, (v, _) in terms.items()},
            penalty=0.0,
            residual=None,
        )
    advantages = {i: row.value for i, row in rows.items()}
    if estimator.dead_groups == "recentre":
        for group in step.groups:
            members = [i for i in group if i in rows]
            mean = statistics.fmean([advantages[i] for i in members]) if members else 0.0
            advantages |= {i: advantages[i] - mean for i in members}
    if estimator.whiten:
        advantages = reference.whitened(advantages, estimator.eps)
    indices = range(len(step.scores))
    return Expected(
        values=[advantages.get(i, 0.0) for i in indices],
        trained=[i in rows for i in indices],
        z=[
            [step.z(i, j, estimator.eps, estimator.scale == "group") for j in step.channels]
            for i in indices
        ],
        metrics=reference.metrics(estimator, step, rows, advantages),
    )


def counted(estimator: Any, step: Step, i: int) -> list[int]:
    channels = step.asked(i) if estimator.missing == "group_mean" else step.usable(i)
    if estimator.dead_channels == "mask":
        return [j for j in channels if not step.constant(i, j)] or channels
    return channels


def row_terms(
    estimator: Any, step: Step, i: int, satisfied: Satisfied
) -> Iterator[tuple[int, tuple[float, float]]]:
    """The channel, its weight and its z-score, for each that the row counts."""
    channels = counted(estimator, step, i)
    for j in channels:
        w, z = step.weights[i][j], step.z(i, j, estimator.eps, estimator.scale == "group")
        match estimator:
            case DARA():
                factor = dara_factor(estimator, step, j)
                yield j, (w * factor if estimator.amplify == "both" or z > 0 else w, z)
            case GDPOSAW():
                yield j, (w * saw_factor(estimator, step, i, j, satisfied.bad), z)
            case SAMRPO():
                yield (
                    j,
                    (w * (1 - saturation(estimator, step, i, j, satisfied)) ** estimator.gamma, z),
                )
            case DVAO():
                spreads = {
                    n: step.weights[i][n] * (reference.spread_of(step, i, n) + estimator.eps)
                    for n in channels
                }
                yield j, (spreads[j] / sum(spreads.values()), z)
            case CorrGRPO():
                spread = reference.spread_of(step, i, j) + estimator.eps
                yield j, (w * spread / corr_divisor(estimator, step, i), z)
            case GD2PO():
                yield j, (w, z)


def dara_factor(estimator: DARA, step: Step, j: int) -> float:
    density = {n: dara_density(step, n) for n in step.channels}
    if not density[j]:
        return 1.0
    return min(estimator.cap, math.sqrt(max(density.values()) / density[j]))


def dara_density(step: Step, j: int) -> float:
    having = [group for group in step.groups if any(j in step.usable(i) for i in group)]
    alive = [group for group in having if not step.constant(group[0], j)]
    return len(alive) / len(having) if having else 0.0


def told(step: Step, rows: Iterable[int], j: int) -> list[float]:
    """Scores of reward j that are weighed and can be compared."""
    return [s for i in rows if j in step.usable(i) and (s := step.scores[i][j]) is not None]


def unit(estimator: Any, step: Step, i: int) -> range:
    return range(len(step.scores)) if estimator.over == "step" else step.siblings(i)


def saw_factor(estimator: GDPOSAW, step: Step, i: int, j: int, bad: float) -> float:
    variation = {}
    for n in step.channels:
        scores = [max(0.0, score - bad) for score in told(step, unit(estimator, step, i), n)]
        if scores:
            same = len(scores) < 2 or len(set(scores)) == 1
            spread = 0.0 if same else statistics.stdev(scores)
            variation[n] = spread / (statistics.fmean(scores) + estimator.eps)
    total = sum(variation.values())
    return len(variation) * variation.get(j, 0.0) / total if total else 1.0


def saturation(estimator: SAMRPO, step: Step, i: int, j: int, satisfied: Satisfied) -> float:
    reach = satisfied.good - satisfied.bad
    parts = [
        min(1.0, max(0.0, (score - satisfied.bad) / reach))
        for score in told(step, unit(estimator, step, i), j)
    ]
    return min(1.0, statistics.fmean(parts)) if parts else 0.0


def conflicting(estimator: GD2PO, step: Step, i: int) -> bool:
    terms = [
        step.weights[i][j] * step.z(i, j, estimator.eps, estimator.scale == "group")
        for j in counted(estimator, step, i)
        if abs(step.z(i, j, estimator.eps, estimator.scale == "group")) > 1e-8
    ]
    if not (any(t > 0 for t in terms) and any(t < 0 for t in terms)):
        return False
    return estimator.tau == 1 or abs(sum(terms)) / sum(abs(t) for t in terms) < estimator.tau


def corr_divisor(estimator: CorrGRPO, step: Step, i: int) -> float:
    """Pearson's correlation of each pair of columns over the group, a gap read as the mean."""
    group = step.siblings(i)
    columns = {
        j: [
            step.z(n, j, estimator.eps, estimator.scale == "group")
            if j in counted(estimator, step, n)
            else 0.0
            for n in group
        ]
        for j in step.channels
    }
    total = 0.0
    for one in columns.values():
        for other in columns.values():
            scale = math.sqrt(sum(x * x for x in one)) * math.sqrt(sum(y * y for y in other))
            if scale > 0:
                total += sum(x * y for x, y in zip(one, other, strict=True)) / scale
    return math.sqrt(max(0.0, total) + estimator.eps)
