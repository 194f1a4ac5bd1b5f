"""CVaR, MO-GRPO, POW3R, RDPO, Rubric Dropout and smooth Tchebycheff, a number at a time.

Plain floats and loops, written from the equations; groups, z-scores and the rules for missing
scores are those of `reference`.
"""

from __future__ import annotations

import hashlib
import math
import statistics
from collections.abc import Sequence
from dataclasses import replace

from rvpo.advantage import MOGRPO, POW3R, RDPO, CVaR, RubricDropout, SmoothTchebycheff

from . import reference
from .reference import Step

FieldB = MOGRPO | CVaR | SmoothTchebycheff | POW3R | RubricDropout | RDPO
Row = dict[int, float]
"""Numbers by channel."""


def run(
    estimator: FieldB, step: Step, prompts: Sequence[str], progress: float = 0.0
) -> tuple[list[float], list[bool]]:
    """The advantages [N], and which rows are trained on [N]."""
    if estimator.missing == "zero":
        step = step.with_zeros()
    refused = {i for i in range(len(step.scores)) if step.lacks(i)}
    if isinstance(estimator, RubricDropout):
        step = replace(step, weights=thinned(estimator, step, prompts, progress))
    rows = [i for i in range(len(step.scores)) if is_trained(estimator, step, i)]
    if estimator.missing == "skip_sample":
        rows = [i for i in rows if i not in refused]
    values = aggregates(estimator, step, rows)
    if isinstance(estimator, SmoothTchebycheff | POW3R | RubricDropout):
        values = compared(values, step, estimator.eps, by_std=estimator.scale == "group")
    if estimator.dead_groups == "recentre":
        for group in step.groups:
            mean = statistics.fmean([values[i] for i in group if i in values] or [0.0])
            values |= {i: values[i] - mean for i in group if i in values}
    if estimator.whiten:
        values = reference.whitened(values, estimator.eps)
    everyone = range(len(step.scores))
    return [values.get(i, 0.0) for i in everyone], [i in values for i in everyone]


def is_trained(estimator: FieldB, step: Step, i: int) -> bool:
    masked = estimator.dead_groups == "mask" and step.dead_group(i)
    return bool(step.usable(i)) and not masked


def counted(estimator: FieldB, step: Step, i: int) -> list[int]:
    channels = step.asked(i) if estimator.missing == "group_mean" else step.usable(i)
    if estimator.dead_channels == "mask":
        channels = [j for j in channels if not step.constant(i, j)] or channels
    return channels


def aggregates(estimator: FieldB, step: Step, rows: list[int]) -> dict[int, float]:
    match estimator:
        case MOGRPO():
            return {i: total(own_z(estimator, step, i), step.weights[i]) for i in rows}
        case CVaR():
            return {
                i: tail_mean(own_z(estimator, step, i), step.weights[i], estimator.alpha)
                for i in rows
            }
        case SmoothTchebycheff():
            return {i: tchebycheff(estimator, step, i) for i in rows}
        case POW3R():
            return {i: contrasted(estimator, step, i) for i in rows}
        case RubricDropout():
            return {i: mean_score(own(estimator, step, i), step.weights[i]) for i in rows}
        case RDPO():
            return decorrelated(estimator, step, rows)


def own(estimator: FieldB, step: Step, i: int) -> Row:
    """The row's scores; the group's mean of one that it lacks."""
    scores = {j: step.scores[i][j] for j in counted(estimator, step, i)}
    return {j: statistics.fmean(step.known(i, j)) if r is None else r for j, r in scores.items()}


def own_z(estimator: FieldB, step: Step, i: int) -> Row:
    return {j: z_of(estimator, step, i, j) for j in counted(estimator, step, i)}


def z_of(estimator: FieldB, step: Step, i: int, j: int) -> float:
    if estimator.scale == "group":
        return step.z(i, j, estimator.eps)
    score = step.scores[i][j]
    if score is None or not step.comparable(i, j) or step.constant(i, j):
        return 0.0
    return score - statistics.fmean(step.known(i, j))


def total(z: Row, weights: Sequence[float]) -> float:
    return sum(weights[j] * z[j] for j in z)


def mean_score(scores: Row, weights: Sequence[float]) -> float:
    return total(scores, weights) / sum(weights[j] for j in scores)


def tail_mean(z: Row, weights: Sequence[float], alpha: float) -> float:
    """Weight is taken from the lowest upwards until a share alpha of it is used up."""
    left = alpha * sum(weights[j] for j in z)
    taken = gained = 0.0
    for j in sorted(z, key=lambda j: z[j]):
        part = min(weights[j], left)
        left -= part
        taken += part
        gained += part * z[j]
    return gained / taken


def tchebycheff(estimator: SmoothTchebycheff, step: Step, i: int) -> float:
    scores, weights = own(estimator, step, i), step.weights[i]
    terms = [
        math.exp(weights[j] * (max(step.known(i, j)) - scores[j]) / estimator.mu) for j in scores
    ]
    return -estimator.mu * math.log(sum(terms))


def contrasted(estimator: POW3R, step: Step, i: int) -> float:
    """A row's mean score with the weights of its group's contrasts."""
    scores, weights = own(estimator, step, i), step.weights[i]
    contrast = {j: statistics.pvariance(step.known(i, j)) + estimator.eps for j in scores}
    mean = mean_score(contrast, weights)
    mixed = list(weights)
    for j in scores:
        if len(step.known(i, j)) >= 0.75 * step.group_size:
            factor = 1 - estimator.blend + estimator.blend * contrast[j] / mean
            mixed[j] *= min(max(factor, estimator.low), estimator.high)
    return mean_score(scores, mixed)


def thinned(
    estimator: RubricDropout, step: Step, prompts: Sequence[str], progress: float
) -> list[list[float]]:
    """The weights, 0 where a criterion is dropped."""
    weights = [list(row) for row in step.weights]
    for prompt, group in zip(prompts, step.groups, strict=True):
        there = [j for j in step.channels if any(j in step.usable(i) for i in group)]
        drawn = {
            j: hashlib.sha256(b"\0".join([prompt.encode(), repr(progress).encode(), b"r%d" % j]))
            for j in there
        }
        dropped = math.floor(estimator.fraction * len(there))
        while dropped > 0 and len(there) - dropped < estimator.keep:
            dropped -= 1
        for j in sorted(there, key=lambda j: drawn[j].hexdigest())[:dropped]:
            for i in group:
                weights[i][j] = 0.0
    return weights


def decorrelated(estimator: RDPO, step: Step, rows: list[int]) -> dict[int, float]:
    everyone = range(len(step.scores))
    x = {i: {j: quantile_of(estimator, step, i, j) for j in step.channels} for i in everyone}
    found = {}
    for i in rows:
        active = sorted({j for row in step.siblings(i) for j in counted(estimator, step, row)})
        covariance = [[pair(step, x, j, k) for k in active] for j in active]
        root = inverse_root(covariance, estimator.ridge)
        mine = counted(estimator, step, i)
        found[i] = sum(
            step.weights[i][j] * root[active.index(j)][b] * x[i][k]
            for j in mine
            for b, k in enumerate(active)
        )
    return found


def quantile_of(estimator: RDPO, step: Step, i: int, j: int) -> float:
    score = step.scores[i][j]
    if score is None or not step.comparable(i, j) or step.constant(i, j):
        return 0.0
    known = step.known(i, j)

    def normal(value: float) -> float:
        below = sum(other < value for other in known) + sum(other == value for other in known) / 2
        return statistics.NormalDist().inv_cdf(below / len(known))

    quantile = normal(score) - statistics.fmean(normal(other) for other in known)
    share = estimator.magnitude
    return (1 - share) * quantile + share * z_of(estimator, step, i, j)


def pair(step: Step, x: dict[int, Row], j: int, k: int) -> float:
    """Covariance of two channels over the rows where both tell something."""
    rows = [i for i in x if all(c in step.usable(i) and not step.constant(i, c) for c in (j, k))]
    return sum(x[i][j] * x[i][k] for i in rows) / max(1, len(rows))


def inverse_root(matrix: list[list[float]], ridge: float) -> list[list[float]]:
    """Through the eigenvalues, by Jacobi's rotations."""
    size = len(matrix)
    a = [list(row) for row in matrix]
    v = [[float(r == c) for c in range(size)] for r in range(size)]
    for _ in range(60):
        for p in range(size):
            for q in range(p + 1, size):
                if abs(a[p][q]) < 1e-300:
                    continue
                angle = 0.5 * math.atan2(2 * a[p][q], a[q][q] - a[p][p])
                c, s = math.cos(angle), math.sin(angle)
                for r in range(size):
                    a[r][p], a[r][q] = c * a[r][p] - s * a[r][q], s * a[r][p] + c * a[r][q]
                for r in range(size):
                    a[p][r], a[q][r] = c * a[p][r] - s * a[q][r], s * a[p][r] + c * a[q][r]
                for r in range(size):
                    v[r][p], v[r][q] = c * v[r][p] - s * v[r][q], s * v[r][p] + c * v[r][q]
    scale = [1 / math.sqrt(max(a[e][e], 0.0) + ridge) for e in range(size)]
    return [
        [sum(v[r][e] * scale[e] * v[c][e] for e in range(size)) for c in range(size)]
        for r in range(size)
    ]


def compared(values: dict[int, float], step: Step, eps: float, by_std: bool) -> dict[int, float]:
    """Each value as a z-score in its group, or as its distance from the group's mean."""
    if by_std:
        return reference.compared(values, step, eps)
    found = {}
    for i, value in values.items():
        known = [values[row] for row in step.siblings(i) if row in values]
        alone = len(known) < 2 or len(set(known)) == 1
        found[i] = 0.0 if alone else value - statistics.fmean(known)
    return found
