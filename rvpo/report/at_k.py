"""Success with k answers to a prompt, from n >= k of them: pass@k and maj@k.

Both are means over all subsets of k of the n answers, so that neither depends on which k are taken
nor on how many more there are: they are unbiased (pass@k: arXiv:2107.03374, equation 1). pass@k is
counted in whole numbers; maj@k in the widest floats that the machine has where n is in their range,
else in whole numbers too.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from functools import cache, lru_cache
from math import comb
from typing import Any, Final

import numpy as np
import numpy.typing as npt
from numpy.lib.stride_tricks import sliding_window_view

from rvpo.satisfied import MET_OR_NOT, least
from rvpo.types import RolloutScores

Floats = npt.NDArray[np.float64]
Bools = npt.NDArray[np.bool_]
SATISFIED: Final = MET_OR_NOT.good
"""Score from which on a reward is satisfied, unless settings say otherwise."""


def pass_at_k(answers: int, passed: int, k: int) -> float:
    """Chance that one of k answers, drawn from all without putting back, is among the good ones.

        1 - C(n - c, k) / C(n, k)

    Args:
        answers: n.
        passed: number of the good ones, c.

    Raises:
        ValueError: k is not in [1, n], or c not in [0, n].
    """
    if not (1 <= k <= answers and 0 <= passed <= answers):
        raise ValueError(f"pass@{k} of {passed} good ones among {answers} answers is not defined")
    every = comb(answers, k)
    return (every - comb(answers - passed, k)) / every


def majority_at_k(answers: Sequence[Hashable | None], passed: Sequence[bool], k: int) -> float:
    """Chance that the answer which most of k samples give, drawn without putting back, is good.

    Of several answers with equally many votes one is taken by chance, and of the samples that gave
    it one again: it counts as good where that sample is. A sample whose answer is None votes for
    none, and where all k are so there is no good answer.

    Args:
        answers: [n] text of each sample's answer.
        passed: [n] true where the sample is good.

    Raises:
        ValueError: k is not in [1, n].
    """
    if not 1 <= k <= len(answers) or len(answers) != len(passed):
        raise ValueError(f"maj@{k} of {len(answers)} answers is not defined")
    voters = Counter(answer for answer in answers if answer is not None)
    good = Counter(a for a, is_good in zip(answers, passed, strict=True) if is_good)
    parties = [(size, good[answer]) for answer, size in voters.items()]
    most = min(k, max(voters.values(), default=0))
    won = sum((_won(parties, len(answers), k, n) for n in range(1, most + 1)), Fraction(0))
    return float(won / comb(len(answers), k))


def _won(parties: Sequence[tuple[int, int]], answers: int, k: int, votes: int) -> Fraction:
    """Number of subsets of k in which a good answer wins with so many votes; of a tie the part.

    Only parties of that size can have so many, and they are walked through once. For each number of
    them that have it, and of samples drawn from the rest of them, it is known in how many ways that
    can be, and, summed over these parties, in how many with one of the party's drawn samples that
    is good: [2, tied, loose]. The samples of smaller parties are drawn at the end, as it comes.

    Args:
        parties: samples that gave an answer, and the good ones among them.
        answers: all samples, those without an answer too.
    """
    large = [(size, good) for size, good in parties if size >= votes]
    tied, loose = min(len(large), k // votes), min(len(large) * (votes - 1), k)
    kind = _kind(answers)
    counts: npt.NDArray[Any] = np.zeros((2, tied + 1, loose + 1), dtype=kind)
    counts[0, 0, 0] = 1
    rows = columns = 1  # beyond these there is nothing yet
    for size, good in large:
        chosen = _row(size, k, kind)
        below = chosen[votes - 1 :: -1]
        before, counts = counts[:, :rows, :columns], np.zeros_like(counts)
        part = before[:, : min(rows, tied)]
        place = np.s_[1 : part.shape[1] + 1, :columns]
        counts[:, *place] = chosen[votes] * part
        counts[1, *place] += good * _row(size - 1, k, kind)[votes - 1] * part[0]
        columns = min(columns + votes - 1, loose + 1)
        around = np.pad(before, ((0, 0), (0, 0), (votes - 1, votes - 1)))
        counts[:, :rows, :columns] += (sliding_window_view(around, votes, 2) @ below)[..., :columns]
        rows = min(rows + 1, tied + 1)
    others = _row(answers - sum(size for size, _ in large), k, kind)
    won = Fraction(0)
    for n in range(1, tied + 1):
        left = others[k - votes * n :: -1][: loose + 1]
        won += Fraction(int(counts[1, n, : len(left)] @ left), votes * n)
    return won


@lru_cache(256)
def _row(size: int, most: int, kind: type) -> npt.NDArray[Any]:
    """[most + 1] numbers of ways to choose 0, 1, ... of so many."""
    return np.array([comb(size, own) for own in range(most + 1)], kind)


@cache
def _kind(answers: int) -> type:
    """Numbers in which subsets of so many answers are counted: the widest floats, which are fast
    and only ever added here, or Python's whole numbers where a count would be too large."""
    limit = np.finfo(np.longdouble).max
    return np.longdouble if answers * comb(answers, answers // 2) < int(limit) else object


@dataclass(frozen=True, kw_only=True)
class AtK:
    """Numbers of success with k answers, of an evaluation."""

    at: tuple[int, ...]
    """Numbers of answers, k; none turns everything off."""
    joint: tuple[str, ...]
    """Rewards that an answer must satisfy all at once."""
    satisfied: Mapping[str, float] = field(default_factory=dict)
    """Score from which on a reward, or a part of one, is satisfied; of a part that is not named,
    that of what it is part of, and 1 of all others."""

    def threshold(self, aspect: str) -> float:
        """Score from which on a reward, or a part such as `judged/polite`, is satisfied."""
        while aspect not in self.satisfied and "/" in aspect:
            aspect = aspect.rpartition("/")[0]
        return self.satisfied.get(aspect, SATISFIED)

    def of(self, scored: RolloutScores, answers: Sequence[Hashable | None]) -> dict[str, Floats]:
        """Each number for each prompt, by metrics such as `eval/pass@4/correct`: [P], NaN where
        fewer than k samples are known to be good or not.

        A sample satisfies a reward where all of its scores do: those of all criteria, where it is
        a rubric. It is left out where none of them is too low and judging lost one, and where the
        reward does not apply.

        Args:
            scored: [N, M] rewards of the held-out samples.
            answers: [N] text of each sample's answer, which are the votes of maj@k.
        """
        size = scored.rewards.group_size
        groups = [slice(row, row + size) for row in range(0, len(answers), size)]
        verdicts = self._verdicts(scored)
        found: dict[str, list[float]] = {}
        for k in self.at:
            for name, each in verdicts.items():
                found[f"eval/pass@{k}/{name}"] = [_passes(each[g], k) for g in groups]
            for name, each in verdicts.items():
                found[f"eval/maj@{k}/{name}"] = [_wins(answers[g], each[g], k) for g in groups]
            if self.joint:
                every = self._every(scored)
                found[f"eval/all_satisfied@{k}"] = [_passes(every[g], k) for g in groups]
        return {name: np.array(values, dtype=np.float64) for name, values in found.items()}

    def _verdicts(self, scored: RolloutScores) -> dict[str, Floats]:
        """[N] verdicts by aspect; see `_satisfied`."""
        return {
            name: _satisfied(scored, mask.numpy(), self._short(scored, name))
            for name, mask in scored.aspects.items()
        }

    def _every(self, scored: RolloutScores) -> Floats:
        """[N] the same of all rewards at once."""
        masks = [scored.aspects[name].numpy() for name in self.joint]
        short = [self._short(scored, name) for name in self.joint]
        return _satisfied(scored, np.any(masks, axis=0), np.any(short, axis=0))

    def _short(self, scored: RolloutScores, name: str) -> Bools:
        """[N, M] true where a score of the aspect is too low."""
        values = scored.rewards.values.double().numpy()
        there = (scored.aspects[name] & scored.rewards.valid).numpy()
        short: Bools = there & (values < least(self.threshold(name)))
        return short


def _satisfied(scored: RolloutScores, mask: Bools, short: Bools) -> Floats:
    """[N] 1 where all scores of a mask are high enough, 0 where one is too low; NaN where there is
    none, or nobody knows."""
    lost = np.zeros_like(mask)
    for row, column in scored.failures:
        lost[row, column] = mask[row, column]
    there = mask & scored.rewards.valid.numpy()
    known = there.any(axis=1) & ~lost.any(axis=1)
    return np.where(short.any(axis=1), 0.0, np.where(known, 1.0, np.nan))


def _passes(verdicts: Floats, k: int) -> float:
    known = verdicts[np.isfinite(verdicts)]
    return pass_at_k(len(known), int(known.sum()), k) if len(known) >= k else math.nan


def _wins(answers: Sequence[Hashable | None], verdicts: Floats, k: int) -> float:
    known = [(a, v > 0) for a, v in zip(answers, verdicts.tolist(), strict=True) if v == v]
    if len(known) < k:
        return math.nan
    voted, good = zip(*known, strict=True)
    return majority_at_k(voted, good, k)


NO_K: Final = AtK(at=(), joint=())
"""No number of success with k answers at all."""
