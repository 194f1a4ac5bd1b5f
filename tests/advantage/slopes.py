"""What meeting a verdict is paid in expectation, derived and not drawn.

A group has G samples, and M independent verdicts of which one, the probe, is met by a share p and
the others by a share q each. The slope of the advantage on verdict j within a group is

    a_j = E[A d_j] / E[d_j^2],    d_j = c_j - n_j / G,    n_j the samples of the group that meet it

The soft minima below have A = -(1/k) ln sum_l x(c_l, n_l) but for a constant of the group, which d
does not see. The pairs (c_l, n_l) of one sample are independent of one another, so that what is
needed is E ln of a sum of independent terms, by Frullani's integral

    E ln S = int_0^inf (exp(-t) - prod_l E exp(-t x_l)) / t dt
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

G = 16
EPS = 1e-4
_T = np.exp(np.arange(-60.0, 30.0, 0.02))
"""Places of the integral, in equal steps of ln t."""

Term = Callable[[int, int], float]
"""x of whether a sample meets a verdict, and how many of its group do."""


@dataclass(frozen=True)
class Case:
    rewards: int  # M
    probe: float  # p
    usual: float  # q


def pairs(rate: float) -> list[tuple[int, int, float]]:
    """(c, n, chance) of a sample and its group."""
    found = []
    for n in range(G + 1):
        chance = math.comb(G, n) * rate**n * (1 - rate) ** (G - n)
        found += [(1, n, chance * n / G), (0, n, chance * (1 - n / G))]
    return found


def z(c: int, n: int) -> float:
    std = math.sqrt(n * (1 - n / G) / (G - 1))
    return (c - n / G) / (std + EPS) if 0 < n < G else 0.0


def ratio(slope: Callable[[float, tuple[float, ...]], float], case: Case) -> float:
    """The probe's slope over that of another, by a slope from a rate and the other rates."""
    others = (case.usual,) * (case.rewards - 1)
    return slope(case.probe, others) / slope(case.usual, (case.probe, *others[1:]))


def gdpo(rate: float, _: tuple[float, ...]) -> float:
    """E[d z] / E[d^2]: the other verdicts are independent of this one."""
    moment = sum(chance * (c - n / G) * z(c, n) for c, n, chance in pairs(rate))
    return moment / (rate * (1 - rate) * (1 - 1 / G))


def soft_min(term: Term, k: float) -> Callable[[float, tuple[float, ...]], float]:
    def slope(rate: float, others: tuple[float, ...]) -> float:
        rest = math.prod(_laplace(term, other) for other in others)
        moment = sum(
            chance * (c - n / G) * _expected_log(np.exp(-_T * term(c, n)) * rest)
            for c, n, chance in pairs(rate)
        )
        return -moment / k / (rate * (1 - rate) * (1 - 1 / G))

    return slope


def _laplace(term: Term, rate: float) -> np.ndarray:
    return sum(
        (chance * np.exp(-_T * term(c, n)) for c, n, chance in pairs(rate)), np.zeros(len(_T))
    )


def _expected_log(transform: np.ndarray) -> float:
    return float(np.sum(np.exp(-_T) - transform) * 0.02)


def rvpo(k: float) -> Callable[[float, tuple[float, ...]], float]:
    return soft_min(lambda c, n: math.exp(-k * z(c, n)), k)


def level_soft_min(k: float) -> Callable[[float, tuple[float, ...]], float]:
    return soft_min(lambda c, n: math.exp(-k * c), k)


def level_min(k: float, rewards: int) -> Callable[[float, tuple[float, ...]], float]:
    return soft_min(lambda c, n: math.exp(-k * c) / (n / G + 1 / rewards), k)


def level_soft_min_in_two_lines(case: Case, k: float) -> float:
    """The same without the integral: A depends on how many verdicts a sample fails alone."""

    def value(failed: int) -> float:
        return -math.log(failed + (case.rewards - failed) * math.exp(-k)) / k

    def slope(others: tuple[float, ...]) -> float:
        total = 0.0
        for met in itertools.product((0, 1), repeat=len(others)):
            chance = math.prod(r if m else 1 - r for r, m in zip(others, met, strict=True))
            failed = met.count(0)
            total += chance * (value(failed) - value(failed + 1))
        return total

    rest = (case.usual,) * (case.rewards - 1)
    return slope(rest) / slope((case.probe, *rest[1:]))


def grpo(case: Case) -> float:
    """The ratio over all groups: a sample is known by the probe and by how many others it meets,
    and a group by how many of its samples are of each kind."""
    kinds = list(itertools.product((0, 1), range(case.rewards)))
    chances = [
        (case.probe if c else 1 - case.probe)
        * math.comb(case.rewards - 1, m)
        * case.usual**m
        * (1 - case.usual) ** (case.rewards - 1 - m)
        for c, m in kinds
    ]
    counts = np.array(list(_compositions(G, len(kinds))))  # [groups, kinds]
    ways = np.array([math.factorial(x) for x in range(G + 1)], dtype=float)
    weight = math.factorial(G) * np.prod(np.array(chances) ** counts / ways[counts], axis=1)
    probe = np.array([c for c, _ in kinds], dtype=float)
    other = np.array([m for _, m in kinds], dtype=float) / (case.rewards - 1)
    total = probe + other * (case.rewards - 1)

    def covariance(x: np.ndarray, y: np.ndarray) -> np.ndarray:
        return counts @ (x * y) / G - (counts @ x / G) * (counts @ y / G)

    std = np.sqrt(np.maximum(covariance(total, total), 0) * G / (G - 1)) + EPS
    moments = [float(weight @ (covariance(total, x) / std)) for x in (probe, other)]
    spreads = [r * (1 - r) for r in (case.probe, case.usual)]
    return (moments[0] / spreads[0]) / (moments[1] / spreads[1])


def _compositions(total: int, parts: int):
    if parts == 1:
        yield (total,)
        return
    for first in range(total + 1):
        for rest in _compositions(total - first, parts - 1):
            yield (first, *rest)
