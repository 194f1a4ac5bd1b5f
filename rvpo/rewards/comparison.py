"""A reward that the judge gives by comparing the samples of a prompt, two by two.

    score_i = mean over its opponents j of  (v_ij + 1 - v_ji) / 2

where v_ij is the verdict on response i shown before response j: 1 where i is better, 0 where j is,
.5 where neither is. Each pair is asked about in both orders, so that a judge's liking for a place
cancels. Over all pairs it is the sample's rate of wins against its siblings, an unbiased estimate
of its chance to be preferred to another sample of the policy, which is the reward of Swamy et al.
2024, arXiv:2401.04056. For a full round the strengths of Bradley and Terry have the same order
(Ford 1957), but no finite value for a sample that wins every time.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence, Set
from dataclasses import dataclass, replace
from functools import cached_property
from statistics import fmean
from typing import Literal, Protocol

from rvpo.config.judges import OWN
from rvpo.config.rewards import Condition
from rvpo.judge.types import Answer, Question
from rvpo.rewards.cell import Cell
from rvpo.rewards.duels import Duels
from rvpo.satisfied import Satisfied
from rvpo.schedule import Ramp
from rvpo.thinking import Sees
from rvpo.types import Failed, Prompt, Remark, Sample

_Answers = Mapping[Question, Answer]


class Shown(Protocol):
    """A response that can be compared: a sample, or an answer that was kept."""

    @property
    def missing(self) -> str:
        """Reason that it has no score; empty where it has one."""
        ...

    def seen(self, sees: Sees) -> str:
        """Part that the judge is shown."""
        ...


Opponent = Callable[[int, Sample], Shown]
"""The one that a sample is compared with in place of its siblings, given its row."""

LEAST_KNOWN = 0.5
"""Share of a sample's pairs that must be known for it to have a score."""


@dataclass(frozen=True, kw_only=True)
class ComparisonReward:
    """The share of wins of each sample against others of its prompt.

    A pair is known where both orders have a verdict, or where the two responses are equal, which is
    a tie that nobody is asked about. A sample's score is the mean over its known pairs, and missing
    where they are fewer than half.

    Args:
        name: the one in reports and metrics.
        question: the one that the better response answers.
        pairs: others that each sample meets: all, its neighbours in a circle, or so many of them.
        weight: see `Reward`.
        condition: see `Condition`.
        satisfied: scores that are good enough; None for those of verdicts.
        judge: name of the judge that is asked.
        sees: part of a completion that it is shown.
    """

    name: str
    question: str
    pairs: Literal["all", "circle"] | int = "all"
    weight: float | Ramp = 1.0
    condition: Condition | None = None
    satisfied: Satisfied | None = None
    judge: str = OWN
    sees: Sees = "answer"

    @property
    def columns(self) -> tuple[str, ...]:
        """Names of its columns: its own."""
        return (self.name,)

    @property
    def aspects(self) -> tuple[str, ...]:
        """Names that reports show of it: its own."""
        return (self.name,)

    def fitted(self, prompts: Sequence[Prompt]) -> ComparisonReward:
        """The reward itself: it needs nothing of the prompts."""
        return self

    def asking(self, judge: str) -> ComparisonReward:
        """The same reward, given by another judge."""
        return replace(self, judge=judge)

    def apart(self) -> ComparisonReward:
        """The same reward for itself: of weight 0 and without a condition."""
        return replace(self, weight=0.0, condition=None)

    def about(self, other: str) -> Question:
        """The question about a response that is shown before another one."""
        return Question("comparison", self.question, sees=self.sees, other=other)

    def meetings(self, group_size: int) -> float:
        """Calls about a sample, in a group in which no two responses are equal."""
        return 2 * len(pairs_of(self.pairs, group_size)) / group_size

    def questions(self, group: Sequence[Shown]) -> list[tuple[Question, ...]]:
        """[G] questions about each sample of a group, in which it stands before its opponents."""
        return self._round(group).questions

    def cells(self, group: Sequence[Shown], answers: Sequence[_Answers]) -> list[Cell]:
        """[G] the score of each sample, from the answers to `questions`."""
        played = self._round(group)
        return [self._cell(played, answers, i) for i in range(len(group))]

    def unusable(self, group: Sequence[Shown], answers: Sequence[_Answers]) -> list[Set[Question]]:
        """[G] questions whose answers it cannot use: those that failed, and those about the same
        pair in the other order."""
        played = self._round(group)
        lost: list[set[Question]] = [set() for _ in group]
        for i, j in played.unequal:
            if played.share(answers, i, j) is None:
                lost[i].add(played.question(j))
                lost[j].add(played.question(i))
        return list(lost)

    def duels(self, group: Sequence[Shown], answers: Sequence[_Answers]) -> Duels:
        """Counts of the verdicts, which tell how far the order mattered."""
        played = self._round(group)
        return Duels.of(
            (answers[i][played.question(j)].value, answers[j][played.question(i)].value)
            for i, j in played.unequal
        )

    def _round(self, group: Sequence[Shown]) -> _Round:
        texts = tuple(sample.seen(self.sees) for sample in group)
        return _Round(self, texts, pairs_of(self.pairs, len(group)))

    def _cell(self, played: _Round, answers: Sequence[_Answers], i: int) -> Cell:
        opponents = played.opponents[i]
        if not opponents:
            return Cell(None, aspects=(self.name,))
        shares = [played.share(answers, i, j) for j in opponents]
        known = [share for share in shares if share is not None]
        if len(known) < LEAST_KNOWN * len(opponents):
            return Cell(Failed(played.failure(answers, i)), aspects=(self.name,))
        remark = Remark(self.question, _said(shares), played.reason(answers, i))
        return Cell(fmean(known), aspects=(self.name,), remark=remark)


@dataclass(frozen=True)
class _Round:
    """The pairs of a group, and the questions about them.

    Args:
        texts: [G] the part of each sample that the judge is shown.
        pairs: places in the group.
    """

    reward: ComparisonReward
    texts: tuple[str, ...]
    pairs: tuple[tuple[int, int], ...]

    @cached_property
    def opponents(self) -> list[list[int]]:
        """[G] places of those that each sample meets."""
        met: list[list[int]] = [[] for _ in self.texts]
        for i, j in self.pairs:
            met[i].append(j)
            met[j].append(i)
        return met

    @cached_property
    def unequal(self) -> list[tuple[int, int]]:
        """The pairs that are asked about."""
        return [(i, j) for i, j in self.pairs if self.texts[i] != self.texts[j]]

    @cached_property
    def questions(self) -> list[tuple[Question, ...]]:
        """[G] questions about each sample, none twice."""
        return [
            tuple(dict.fromkeys(self.question(j) for j in met if self.texts[j] != text))
            for text, met in zip(self.texts, self.opponents, strict=True)
        ]

    def question(self, other: int) -> Question:
        """The question about any sample that is shown before this other one."""
        return self.reward.about(self.texts[other])

    def share(self, answers: Sequence[_Answers], i: int, j: int) -> float | None:
        """The first one's share of the win, over both orders; None where either is unknown."""
        if self.texts[i] == self.texts[j]:
            return 0.5
        first = answers[i][self.question(j)].value
        second = answers[j][self.question(i)].value
        return None if first is None or second is None else (first + 1 - second) / 2

    def failure(self, answers: Sequence[_Answers], i: int) -> str:
        """The reason for which most verdicts on a sample are missing."""
        asked = [j for j in self.opponents[i] if self.texts[j] != self.texts[i]]
        found = [answers[i][self.question(j)] for j in asked]
        found += [answers[j][self.question(i)] for j in asked]
        reasons = Counter(a.failure or "no answer" for a in found if a.value is None)
        return reasons.most_common(1)[0][0]

    def reason(self, answers: Sequence[_Answers], i: int) -> str:
        """The judge's words to one of the verdicts, in which the sample is response A."""
        said = (answers[i][question].reason for question in self.questions[i])
        return next(filter(None, said), "")


def pairs_of(pairs: Literal["all", "circle"] | int, size: int) -> tuple[tuple[int, int], ...]:
    """The pairs of places in a group of `size`, each once, every place in equally many.

    Neighbours in a circle meet first. Where an odd number of opponents is not possible, as for
    every group of an odd size, it is one more.
    """
    wanted = size - 1 if pairs == "all" else 2 if pairs == "circle" else pairs
    wanted = min(wanted, size - 1)
    distances = list(range(1, wanted // 2 + 1))
    if wanted % 2:
        distances.append(wanted // 2 + 1 if size % 2 else size // 2)
    found = {tuple(sorted((i, (i + d) % size))) for d in distances for i in range(size)}
    return tuple(sorted((i, j) for i, j in found))


def _said(shares: Sequence[float | None]) -> str:
    """Wins, ties and losses in words."""
    known = [share for share in shares if share is not None]
    counts = {
        "won": sum(share > 0.5 for share in known),
        "tied": sum(share == 0.5 for share in known),
        "lost": sum(share < 0.5 for share in known),
        "unknown": len(shares) - len(known),
    }
    return ", ".join(f"{count} {word}" for word, count in counts.items() if count)
