"""Reliability of judged scores: how much of what tells a group's samples apart is no noise.

A score r is the judge's settled opinion t, its mean over endless repeats, and an error e that the
next repeat does not share: r = t + e (Spearman 1904; Lord and Novick 1968). Within groups, over
which advantages compare, the reliability is

    rho = Var t / Var r = Cov(r, r') / Var r

for a repeat r' of r: an intraclass correlation of deviations from the group's mean, or the slope by
which r predicts r'. Over the groups that were asked twice it is estimated as

    rho = sum_g c_g / sum_g v_g      c_g = sum_i d_i d'_i,   v_g = sum_i (d_i^2 + d'_i^2) / 2

where d is a score less its group's mean, column by column. It is the same on every scale of scores.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from itertools import combinations
from typing import TYPE_CHECKING, Any, Final, Self

from rvpo.advantage.group import standardise
from rvpo.agreement import Agreement, summed
from rvpo.lazy import torch
from rvpo.types import RolloutScores

if TYPE_CHECKING:
    from torch import Tensor

PRIOR_SCORES: Final = 10.0
"""Scores that agreed with their repeats before any was asked for: as long as little is known,
little is shrunk."""
_CONFIDENCE: Final = 0.95


def agreements(
    scored: RolloutScores, repeats: Sequence[RolloutScores], parts: Collection[str]
) -> dict[str, Agreement]:
    """Agreement of the scores of each part with their repeats.

    Where one of two scores is missing, both are left out. Of more than two, each counts with each.

    Args:
        scored: whole groups, with the scores that count.
        repeats: the same samples again, with what was asked for again; else not valid.
        parts: aspects of the scores.
    """
    every = [each.rewards for each in (scored, *repeats)]
    pairs = list(combinations(every, 2))
    size, columns = scored.rewards.group_size, len(scored.rewards.names)
    shared = spread = torch.zeros_like(scored.rewards.values).double()
    for one, other in pairs:
        both = one.valid & other.valid
        first, second = (standardise(r.values, both, size, eps=1.0).centred for r in (one, other))
        shared = shared + first * second / len(pairs)
        spread = spread + (first.square() + second.square()) / (2 * len(pairs))
    sums = torch.stack([shared, spread, spread.square()])
    by_group = sums.reshape(3, -1, size, columns).sum(dim=2)  # [3, P, M]
    found = {part: _added(scored.aspects[part][::size], by_group) for part in parts}
    return {part: each for part, each in found.items() if each.spread > 0}


def _added(mask: Tensor, by_group: Tensor) -> Agreement:
    """The sums over groups; a part may have several columns in a group.

    Args:
        mask: [P, M] bool.
        by_group: [3, P, M] c, v and v squared.
    """
    total = Agreement()
    for c, v, squares in by_group.where(mask, 0.0).sum(dim=2).T.tolist():
        if v > 0:
            total += Agreement.of_group(c, v, squares)
    return total


@dataclass(frozen=True, slots=True, kw_only=True)
class Reliability:
    """An estimate of the reliability of a part's scores, with its interval of 95 %."""

    value: float
    """In [0, 1]: 1 where repeats always agree, 0 where they have nothing in common."""
    low: float
    high: float
    scores: float
    """Number of repeated scores that it rests on; see `Agreement.scores`."""

    @classmethod
    def of(cls, found: Agreement) -> Self | None:
        """The estimate; None where nothing differed, and nothing can be said.

        The interval counts groups as the units that differ by chance, and adds to them four scores
        of a coin, two that agree with their repeats and two that do not (Agresti and Coull 1998):
        without them a few that all agree would look certain.
        """
        if found.spread <= 0:
            return None
        from scipy.special import stdtrit

        unit = found.spread / found.scores  # v of a typical score
        spread = found.spread + 4 * unit
        centre = found.shared / spread
        squares = (
            found.shared_squared
            - 2 * centre * found.product
            + centre**2 * found.spread_squared
            + 2 * (unit - centre * unit) ** 2
            + 2 * (unit + centre * unit) ** 2
        )
        groups = found.groups**2 / found.groups_squared + 4
        error = math.sqrt(max(0.0, squares) * groups / (groups - 1)) / spread
        reach = float(stdtrit(groups - 1, (1 + _CONFIDENCE) / 2)) * error
        return cls(
            value=_within(found.shared / found.spread),
            low=_within(centre - reach),
            high=_within(centre + reach),
            scores=found.scores,
        )

    @property
    def cautious(self) -> float:
        """The estimate as far as it is known: n of n + 10 parts of the way from 1, in [0, 1]."""
        return (self.scores * self.value + PRIOR_SCORES) / (self.scores + PRIOR_SCORES)


def _within(value: float) -> float:
    return min(1.0, max(0.0, value))


class Reliabilities:
    """All that a run knows of the reliability of its judged scores. Every rank has the same.

    A policy changes, and with it how far its samples differ: what was seen fades, to a half in
    `half_life` steps.

    Args:
        half_lives: steps, by the names of the rewards whose verdicts are asked for again.
    """

    name = "reliability"

    def __init__(self, half_lives: Mapping[str, float]) -> None:
        self._half_lives = half_lives
        self._known: dict[str, Agreement] = {}

    def __call__(self, scored: RolloutScores) -> RolloutScores:
        """The scores of a step, with how reliable they are by all steps before it, and with the
        metrics of what is known after it.

        A step's own repeats do not act on it: its noise would choose how it is shrunk.
        """
        if not self._half_lives:
            return scored
        rewards = replace(scored.rewards, reliability=self._matrix(scored))
        self._learn(scored.agreements)
        return replace(scored, rewards=rewards, metrics={**scored.metrics, **self.metrics()})

    def metrics(self) -> dict[str, float]:
        """The present estimates, ready to be logged."""
        metrics: dict[str, float] = {}
        of_rewards = summed({part.partition("/")[0]: x} for part, x in self._known.items())
        for part, known in _estimates(of_rewards | self._known).items():
            metrics |= {
                f"judge/{part}/reliability": known.value,
                f"judge/{part}/reliability_low": known.low,
                f"judge/{part}/reliability_high": known.high,
                f"judge/{part}/reliability_scores": known.scores,
            }
        return metrics

    def state(self) -> dict[str, Any]:
        """Everything, as JSON holds it."""
        return {part: asdict(known) for part, known in self._known.items()}

    def restore(self, state: Mapping[str, Any]) -> None:
        """Go on from a `state`."""
        self._known = {part: Agreement.from_json(known) for part, known in state.items()}

    def _learn(self, news: Mapping[str, Agreement]) -> None:
        for part, known in self._known.items():
            half_life = self._half_lives.get(part.partition("/")[0])
            self._known[part] = known if half_life is None else known.faded(0.5 ** (1 / half_life))
        for part, found in news.items():
            self._known[part] = self._known.get(part, Agreement()) + found

    def _matrix(self, scored: RolloutScores) -> Tensor:
        """[N, M], 1 where nothing is known."""
        matrix = torch.ones_like(scored.rewards.values)
        for part, known in _estimates(self._known).items():
            if part in scored.aspects:
                matrix = matrix.masked_fill(scored.aspects[part], known.cautious)
        return matrix


def _estimates(known: Mapping[str, Agreement]) -> dict[str, Reliability]:
    found = {part: Reliability.of(each) for part, each in known.items()}
    return {part: each for part, each in found.items() if each is not None}
