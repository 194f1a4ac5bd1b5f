"""The judge's part in scoring a rollout: ask while samples arrive, wait for what is left."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import CancelledError, Future
from dataclasses import dataclass, field, replace
from queue import Empty, SimpleQueue
from time import monotonic
from typing import Any, Final

from rvpo.config.judge import BudgetConfig
from rvpo.errors import RewardError
from rvpo.judge.types import Answer, Job, Judge, Question
from rvpo.rewards.cell import Cell
from rvpo.rewards.comparison import ComparisonReward, Opponent, Shown
from rvpo.rewards.duels import Duels
from rvpo.rewards.judged import JudgedReward
from rvpo.rewards.rubric import RubricReward
from rvpo.rewards.spare import SPARED, Spared, Streak, VerdictCounts, key_of
from rvpo.rewards.tally import Tally
from rvpo.runtime.ignore import ignore
from rvpo.types import Prompt, Sample

NOTICE_S: Final = 15.0
"""A longer wait is told of, and again whenever it has doubled."""

NOT_ASKED = Answer(value=None, failure="not asked, too many had failed")
_TOO_FEW = 20
"""Failures that do not yet show that the judge is down."""


Notice = Callable[[str], None]
_Answers = Mapping[Question, Answer]
Settled = Mapping[Question, Streak]
"""Criteria that are asked of a few samples of a group."""


@dataclass(frozen=True, kw_only=True)
class Verdicts:
    """All that the judge said about one rank's samples."""

    answers: Sequence[Mapping[Question, Answer]]  # [N]
    tallies: Mapping[str, Tally]
    """Counts of answers by reward; an answer that several rewards use counts for the first."""
    asked: Sequence[int]  # [N] verdicts that training needs
    failed: Sequence[int]  # [N] of these
    failures: Counter[str]
    """Reasons of those in `failed`."""
    waited_s: float
    """Seconds of waiting when everything else was done."""
    duels: Mapping[str, Duels] = field(default_factory=dict)
    """Counts of comparisons, by reward."""
    outcomes: Mapping[str, VerdictCounts] = field(default_factory=dict)
    """Outcomes of the criteria that may be settled."""

    def without_answers(self) -> Verdicts:
        """The counts alone, for other ranks."""
        return replace(self, answers=())


@dataclass(frozen=True, slots=True)
class _Sent:
    """Questions about one sample, on their way."""

    questions: tuple[Question, ...]
    future: Future[tuple[Answer, ...]]

    def answers(self) -> dict[Question, Answer]:
        """Waits for them."""
        try:
            return dict(zip(self.questions, self.future.result(), strict=True))
        except CancelledError:
            return dict.fromkeys(self.questions, NOT_ASKED)


@dataclass(frozen=True)
class AskedJudge:
    """A judge, and the shares of its verdicts that may fail."""

    judge: Judge
    budget: BudgetConfig


@dataclass(eq=False)
class _Row:
    """A sample, and what was asked about it."""

    sample: Sample
    asked: dict[str, tuple[Question, ...]]
    """Questions by reward."""
    settled: Mapping[str, Settled] = field(default_factory=dict)
    """Those by reward that were asked of a few samples of the group, be it of this one or not."""
    sent: list[_Sent] = field(default_factory=list)

    @property
    def questions(self) -> tuple[Question, ...]:
        """Each question once."""
        return tuple(dict.fromkeys(q for asked in self.asked.values() for q in asked))

    @property
    def answers(self) -> _Answers:
        """Waits for them."""
        together = {q: answer for sent in self.sent for q, answer in sent.answers().items()}
        found = {question: together[question] for question in self.questions}
        return dict.fromkeys(self.spared, SPARED) | found

    @property
    def spared(self) -> set[Question]:
        """Questions that were not asked of this sample."""
        asked = set(self.questions)
        return {q for settled in self.settled.values() for q in settled if q not in asked}


@dataclass(frozen=True)
class _Group:
    """Responses that are compared with one another."""

    shown: Sequence[Shown]
    rows: Sequence[_Row]
    """The row that each counts for, and whose answers hold those about it."""


class Judging:
    """Questions to one judge about a rollout, on their way.

    Args:
        rewards: those that the judge gives.
        trained: names of those among them that the update depends on.
        group_size: G; samples are compared as soon as a group is whole, and without it in
            `ask_rest`.
        opponent: samples are compared with these, and not with their siblings.
        spared: choices of settled criteria; needs the group size.
    """

    def __init__(
        self,
        rewards: Sequence[JudgedReward | ComparisonReward],
        trained: frozenset[str],
        judge: Judge | None,
        budget: BudgetConfig,
        notice: Notice = ignore,
        group_size: int | None = None,
        opponent: Opponent | None = None,
        spared: Spared | None = None,
    ) -> None:
        if rewards and judge is None:
            raise RewardError(f"reward '{rewards[0].name}' needs a judge, and there is none")
        self._rewards = rewards
        self._alone = [r for r in rewards if not isinstance(r, ComparisonReward)]
        self._comparisons = [r for r in rewards if isinstance(r, ComparisonReward)]
        self._trained = trained
        self._judge = judge
        self._budget = budget
        self._notice = notice
        self._size = group_size
        self._opponent = opponent
        self._spared = spared
        self._rows: dict[int, _Row] = {}
        self._groups: dict[int, _Group] = {}  # those that were compared, by their first row
        self._of_prompt: dict[str, dict[str, tuple[Question, ...]]] = {}
        self._settled_of: dict[str, dict[str, Settled]] = {}

    def ask(self, row: int, sample: Sample) -> None:
        """Send everything that there is to ask about a sample, once; returns at once."""
        if row in self._rows:
            return
        asked = self._rows[row] = self._row(row, sample)
        self._send(asked, sample, asked.questions)
        if not self._comparisons:
            return
        if self._opponent is not None:
            self._compare(row, _Group([sample, self._opponent(row, sample)], [asked, asked]))
        elif self._size is not None:
            self._compare_siblings(row - row % self._size, self._size)

    def ask_rest(self, samples: Sequence[Sample], group_size: int) -> None:
        """Send what was not asked yet about these samples, the rollout's rows in order."""
        for row, sample in enumerate(samples):
            self.ask(row, sample)
        if self._comparisons and self._opponent is None:
            for start in range(0, len(samples), group_size):
                self._compare_siblings(start, group_size)

    def needed(self, samples: Sequence[Sample]) -> int:
        """Verdicts on these samples, all of them asked about, that training needs."""
        return sum(len(self._needed(self._rows[row])) for row in range(len(samples)))

    def finish(self, samples: Sequence[Sample], step_needed: int) -> Verdicts:
        """Wait for every answer about these samples, the rollout's rows in order.

        Once so many have failed that the step cannot be used, the rest is not waited for.

        Args:
            step_needed: `needed` of all ranks together.
        """
        for row, sample in enumerate(samples):
            self.ask(row, sample)
        started = monotonic()
        self._wait(step_needed)
        waited_s = monotonic() - started
        rows = [self._rows[row] for row in range(len(samples))]
        answers = {row: row.answers for row in rows}
        failures = Counter(
            answers[row][q].failure or "no answer"
            for row in rows
            for q in self._needed(row)
            if answers[row][q].value is None
        )
        return Verdicts(
            answers=list(answers.values()),
            tallies=self._tallies(answers),
            asked=[len(self._needed(row)) for row in rows],
            failed=self._failed(rows, answers),
            failures=failures,
            waited_s=waited_s,
            duels={reward.name: self._duels(reward, answers) for reward in self._comparisons},
            outcomes=self._outcomes(answers),
        )

    def _row(self, row: int, sample: Sample) -> _Row:
        """A sample with the questions about it by itself."""
        prompt = sample.prompt
        asked, settled = dict(self._questions(prompt)), self._settled(prompt)
        if self._spared is not None and self._size is not None:
            for name, questions in settled.items():
                if not self._spared.is_asked(name, prompt.id, row, self._size):
                    asked[name] = tuple(q for q in asked[name] if q not in questions)
        return _Row(sample, asked, settled)

    def cells(
        self, reward: JudgedReward | ComparisonReward, answers: Sequence[_Answers]
    ) -> list[list[Cell]]:
        """[N] the cells of a reward, from the answers about each row; one for each column."""
        rows = [self._rows[number] for number in range(len(answers))]
        if not isinstance(reward, ComparisonReward):
            pairs = zip(rows, answers, strict=True)
            return [_spared(row, reward, found) for row, found in pairs]
        by_row = dict(zip(rows, answers, strict=True))
        cells: dict[_Row, Cell] = {}
        for group in self._groups.values():
            found = reward.cells(group.shown, [by_row[row] for row in group.rows])
            for row, cell in zip(group.rows, found, strict=True):
                cells.setdefault(row, cell)  # that of the sample, not of its opponent
        return [[cells[row]] for row in rows]

    def _send(self, row: _Row, shown: Shown, questions: Sequence[Question]) -> None:
        if self._judge is None:
            return
        turns = row.sample.prompt.turns
        for sees in dict.fromkeys(question.sees for question in questions):
            asked = tuple(question for question in questions if question.sees == sees)
            job = Job(conversation=turns, response=shown.seen(sees), questions=asked)
            row.sent.append(_Sent(asked, self._judge.submit(job)))

    def _compare_siblings(self, start: int, size: int) -> None:
        """Ask about the pairs of a group, once, if all of it is there."""
        rows = [self._rows[row] for row in range(start, start + size) if row in self._rows]
        if len(rows) == size and start not in self._groups:
            self._compare(start, _Group([row.sample for row in rows], rows))

    def _compare(self, number: int, group: _Group) -> None:
        self._groups[number] = group
        for reward in self._comparisons:
            asked = reward.questions(group.shown)
            for row, shown, questions in zip(group.rows, group.shown, asked, strict=True):
                row.asked[reward.name] = (*row.asked.get(reward.name, ()), *questions)
                self._send(row, shown, questions)

    def _wait(self, step_needed: int) -> None:
        futures = {sent.future: row for row in self._rows.values() for sent in row.sent}
        unanswered = Counter(futures.values())
        left = max(self._budget.step * step_needed, _TOO_FEW)
        for future in as_done(list(futures), self._notice):
            row = futures[future]
            unanswered[row] -= 1
            if future.cancelled() or left < 0 or unanswered[row]:
                continue
            left -= len(self._lost(row, row.answers))
            if left < 0 and self._judge is not None:
                self._judge.cancel()

    def _lost(self, row: _Row, found: _Answers) -> set[Question]:
        """Verdicts that training needs and cannot use, as far as this sample alone tells."""
        lost: set[Question] = set()
        for reward in self._alone:
            if reward.name in self._trained:
                lost |= reward.unusable(row.sample.prompt, found)
        for reward in self._comparisons:
            if reward.name in self._trained:
                lost |= {q for q in row.asked.get(reward.name, ()) if found[q].value is None}
        return lost - row.spared

    def _failed(self, rows: Sequence[_Row], answers: Mapping[_Row, _Answers]) -> list[int]:
        """[N] verdicts that training needs and cannot use."""
        lost = {row: self._lost(row, answers[row]) for row in rows}
        for reward in self._comparisons:
            if reward.name not in self._trained:
                continue
            for group in self._groups.values():
                unusable = reward.unusable(group.shown, [answers[row] for row in group.rows])
                for row, questions in zip(group.rows, unusable, strict=True):
                    lost[row] |= questions
        return [len(lost[row]) for row in rows]

    def _duels(self, reward: ComparisonReward, answers: Mapping[_Row, _Answers]) -> Duels:
        groups = self._groups.values()
        each = (reward.duels(g.shown, [answers[row] for row in g.rows]) for g in groups)
        return sum(each, Duels())

    def _questions(self, prompt: Prompt) -> Mapping[str, tuple[Question, ...]]:
        """Questions of each reward about a sample of the prompt by itself."""
        if prompt.id not in self._of_prompt:
            asked = {reward.name: reward.questions(prompt) for reward in self._alone}
            self._of_prompt[prompt.id] = asked
        return self._of_prompt[prompt.id]

    def _settled(self, prompt: Prompt) -> Mapping[str, Settled]:
        """Criteria of the prompt that are asked of a few samples, by reward."""
        if self._spared is None or self._size is None:
            return {}
        if prompt.id not in self._settled_of:
            streaks = {
                name: {q: self._spared.settled(name, q) for q in questions}
                for name, questions in self._questions(prompt).items()
            }
            found = {
                name: {q: streak for q, streak in each.items() if streak is not None}
                for name, each in streaks.items()
            }
            self._settled_of[prompt.id] = {name: each for name, each in found.items() if each}
        return self._settled_of[prompt.id]

    def _outcomes(self, answers: Mapping[_Row, _Answers]) -> dict[str, VerdictCounts]:
        """Outcomes of the criteria that may be settled."""
        if self._spared is None:
            return {}
        given: dict[tuple[str, Question], list[Answer]] = {}
        for row, found in answers.items():
            for name in self._spared.rewards & row.asked.keys():
                for question in row.asked[name]:
                    given.setdefault((name, question), []).append(found[question])
        return {key_of(*criterion): VerdictCounts.of(each) for criterion, each in given.items()}

    def _needed(self, row: _Row) -> Sequence[Question]:
        """Questions without those that are only logged: that one is missing misleads no update."""
        needed = [asked for name, asked in row.asked.items() if name in self._trained]
        return list(dict.fromkeys(question for asked in needed for question in asked))

    def _tallies(self, answers: Mapping[_Row, _Answers]) -> dict[str, Tally]:
        counted: dict[str, list[Answer]] = {reward.name: [] for reward in self._rewards}
        for row, found in answers.items():
            left = dict(found)
            for reward in self._rewards:
                asked = [q for q in row.asked.get(reward.name, ()) if q in left]
                counted[reward.name] += [left.pop(question) for question in asked]
        return {name: Tally.of(each) for name, each in counted.items()}


def _spared(row: _Row, reward: JudgedReward, answers: _Answers) -> list[Cell]:
    cells = reward.cells(row.sample.prompt, answers)
    settled = row.settled.get(reward.name)
    if not settled or not isinstance(reward, RubricReward):
        return cells
    return reward.spared(row.sample.prompt, cells, answers, settled)


def as_done(
    futures: Sequence[Future[Any]], notice: Notice, patience_s: float = NOTICE_S
) -> Iterator[Future[Any]]:
    """Each future when it is done. `as_completed` would wait for ever for a cancelled one that
    nobody was going to run."""
    started = monotonic()
    done: SimpleQueue[Future[Any]] = SimpleQueue()
    for future in futures:
        future.add_done_callback(done.put)
    for left in range(len(futures), 0, -1):
        while True:
            try:
                future = done.get(timeout=max(0.0, started + patience_s - monotonic()))
                break
            except Empty:
                notice(
                    f"waiting for the judge: answers about {left} of {len(futures)} samples are "
                    "missing"
                )
                patience_s *= 2
        yield future
