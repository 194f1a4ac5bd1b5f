"""The judge's part in scoring a rollout: ask while samples arrive, wait for what is left."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field, replace
from queue import Empty, SimpleQueue
from time import monotonic
from typing import Any, Final

from rvpo.config.judge import BudgetConfig, RepeatConfig
from rvpo.errors import RewardError
from rvpo.judge.spending import SPENT
from rvpo.judge.types import Answer, Judge, Question
from rvpo.rewards.asked import NOT_ASKED as NOT_ASKED
from rvpo.rewards.asked import AskedSample, ComparedGroup, Sent, Settled, job_of
from rvpo.rewards.cell import Cell
from rvpo.rewards.comparison import ComparisonReward, Opponent, Shown
from rvpo.rewards.duels import Duels
from rvpo.rewards.judged import JudgedReward
from rvpo.rewards.repeats import ONCE, Repeating
from rvpo.rewards.rubric import RubricReward
from rvpo.rewards.spare import Spared, VerdictCounts, key_of
from rvpo.rewards.tally import Tally
from rvpo.runtime.ignore import ignore
from rvpo.types import Failed, Prompt, Sample

NOTICE_S: Final = 15.0
"""A longer wait is told of, and again whenever it has doubled."""

_TOO_FEW = 20
"""Failures that do not yet show that the judge is down."""


Notice = Callable[[str], None]
_Answers = Mapping[Question, Answer]


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
    again: Sequence[Sequence[Mapping[Question, Answer]]] = ()
    """[repeats][N] further answers to the same questions; nothing where nobody asked again."""
    duels: Mapping[str, Duels] = field(default_factory=dict)
    """Counts of comparisons, by reward."""
    settling: Mapping[str, VerdictCounts] = field(default_factory=dict)
    """Counts of verdicts on the criteria that may be settled."""

    def without_answers(self) -> Verdicts:
        """The counts alone, for other ranks."""
        return replace(self, answers=(), again=())


@dataclass(frozen=True)
class AskedJudge:
    """A judge, the shares of its verdicts that may fail, and of those that it is asked again."""

    judge: Judge
    budget: BudgetConfig
    repeat: RepeatConfig | None = None


@dataclass(frozen=True, kw_only=True)
class Selection:
    """Choices of what is asked about the samples of a rollout."""

    group_size: int | None = None
    """G; samples are compared as soon as a group is whole, and without it when the rollout is."""
    opponent: Opponent | None = None
    """The one that each sample is compared with in place of its siblings."""
    spared: Spared | None = None
    """Choices of settled criteria; none without the group size."""


EVERYTHING: Final = Selection()
"""All criteria of all samples, and siblings when the rollout is complete."""


class Judging:
    """Questions to one judge about a rollout, on their way.

    Args:
        rewards: those that the judge gives.
        trained: names of those among them that the update depends on.
        repeats: prompts whose questions are asked several times.
        selection: choices of what is asked.
    """

    def __init__(
        self,
        rewards: Sequence[JudgedReward | ComparisonReward],
        trained: frozenset[str],
        judge: Judge | None,
        budget: BudgetConfig,
        notice: Notice = ignore,
        repeats: Repeating = ONCE,
        selection: Selection = EVERYTHING,
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
        self._repeats = repeats
        self._selection = selection
        self._rows: dict[int, AskedSample] = {}
        self._groups: dict[int, ComparedGroup] = {}  # by the first row
        self._of_prompt: dict[str, dict[str, tuple[Question, ...]]] = {}
        self._settled_of: dict[str, dict[str, Settled]] = {}

    def ask(self, row: int, sample: Sample) -> None:
        """Send everything that there is to ask about a sample, once; returns at once."""
        if row in self._rows:
            return
        asked = self._rows[row] = self._asked(row, sample)
        if not sample.missing:
            self._send(asked, sample, asked.questions)
        opponent, size = self._selection.opponent, self._selection.group_size
        if not self._comparisons:
            return
        if opponent is not None:
            self._compare_with(row, opponent(row, sample))
        elif size is not None:
            self._compare_siblings(row - row % size, size)

    def ask_rest(self, samples: Sequence[Sample], group_size: int) -> None:
        """Send what was not asked yet about these samples, the rollout's rows in order."""
        for row, sample in enumerate(samples):
            self.ask(row, sample)
        if self._comparisons and self._selection.opponent is None:
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
        answers = {row: row.answers() for row in rows}
        failures = Counter(
            answers[row][q].failure or "no answer"
            for row in rows
            for q in self._needed(row)
            if answers[row][q].value is None
        )
        again = [[row.answers(n) for row in rows] for n in range(1, self._repeats.times)]
        return Verdicts(
            answers=list(answers.values()),
            again=again,
            tallies=self._tallies(rows, list(answers.values()), *again),
            asked=[len(self._needed(row)) for row in rows],
            failed=self._failed(rows, answers),
            failures=failures,
            waited_s=waited_s,
            duels={reward.name: self._duels(reward, answers) for reward in self._comparisons},
            settling=self._settling(answers),
        )

    def cells(
        self, reward: JudgedReward | ComparisonReward, answers: Sequence[_Answers]
    ) -> list[list[Cell]]:
        """[N] the cells of a reward, from the answers about each row; one for each column."""
        rows = [self._rows[number] for number in range(len(answers))]
        if not isinstance(reward, ComparisonReward):
            pairs = zip(rows, answers, strict=True)
            return [_spared(row, reward, found) for row, found in pairs]
        by_row = dict(zip(rows, answers, strict=True))
        cells: dict[AskedSample, Cell] = {}
        for group in self._groups.values():
            scored = reward.cells(group.shown, [by_row[row] for row in group.rows])
            for row, cell in zip(group.rows, scored, strict=True):
                cells.setdefault(row, cell)  # that of the sample, not of its opponent
        for row in rows:
            if row not in cells:
                reason = row.sample.missing or row.unpaired
                cells[row] = Cell(Failed(reason), aspects=(reward.name,))
        return [[cells[row]] for row in rows]

    def _asked(self, number: int, sample: Sample) -> AskedSample:
        """A sample with the questions about it by itself."""
        prompt, spared, size = sample.prompt, self._selection.spared, self._selection.group_size
        asked, settled = dict(self._questions(prompt)), self._settled(prompt)
        if spared is not None and size is not None:
            for name, questions in settled.items():
                if not spared.is_asked(name, prompt.id, number, size):
                    asked[name] = tuple(q for q in asked[name] if q not in questions)
        return AskedSample(sample, asked, settled)

    def _send(self, row: AskedSample, shown: Shown, questions: Sequence[Question]) -> None:
        if self._judge is None:
            return
        prompt = row.sample.prompt
        for sees in dict.fromkeys(question.sees for question in questions):
            asked = tuple(question for question in questions if question.sees == sees)
            job = job_of(row.sample, shown, sees, asked)
            for repeat in self._repeats.of(prompt):
                future = self._judge.submit(replace(job, repeat=repeat))
                row.sent.append(Sent(asked, future, repeat))

    def _compare_siblings(self, start: int, size: int) -> None:
        """Ask about the pairs of a group, once, if all of it is there. Those that have no score are
        compared with nobody."""
        rows = [self._rows[row] for row in range(start, start + size) if row in self._rows]
        if len(rows) == size and start not in self._groups:
            rows = [row for row in rows if not row.sample.missing]
            self._compare(start, ComparedGroup([row.sample for row in rows], rows))

    def _compare_with(self, number: int, opponent: Shown) -> None:
        """Ask about a sample and another response, if both have a score."""
        row = self._rows[number]
        if opponent.missing:
            row.unpaired = f"the response that it is compared with has none ({opponent.missing})"
        elif not row.sample.missing:
            self._compare(number, ComparedGroup([row.sample, opponent], [row, row]))

    def _compare(self, number: int, group: ComparedGroup) -> None:
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
            found = row.answers()
            if any(answer.failure == SPENT for answer in found.values()):
                continue  # nothing more is asked, and all that is under way is paid for
            left -= len(self._lost(row, found))
            if left < 0 and self._judge is not None:
                self._judge.cancel()

    def _lost(self, row: AskedSample, found: _Answers) -> set[Question]:
        """Verdicts that training needs and cannot use, as far as this sample alone tells."""
        lost: set[Question] = set()
        if row.sample.missing:
            return lost  # nobody was asked
        for reward in self._alone:
            if reward.name in self._trained:
                unusable = reward.unusable(row.sample.prompt, found)
                lost |= unusable - row.settled.get(reward.name, {}).keys()
        for name in self._trained & {reward.name for reward in self._comparisons}:
            lost |= {q for q in row.asked.get(name, ()) if found[q].value is None}
        return lost

    def _failed(
        self, rows: Sequence[AskedSample], answers: Mapping[AskedSample, _Answers]
    ) -> list[int]:
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

    def _duels(self, reward: ComparisonReward, answers: Mapping[AskedSample, _Answers]) -> Duels:
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
        spared = self._selection.spared
        if spared is None or self._selection.group_size is None:
            return {}
        if prompt.id not in self._settled_of:
            self._settled_of[prompt.id] = {
                name: settled
                for name, questions in self._questions(prompt).items()
                if (settled := spared.settled(name, questions))
            }
        return self._settled_of[prompt.id]

    def _settling(self, answers: Mapping[AskedSample, _Answers]) -> dict[str, VerdictCounts]:
        """Counts of verdicts on the criteria that may be settled."""
        if self._selection.spared is None:
            return {}
        given: dict[tuple[str, Question], list[Answer]] = {}
        for row, found in answers.items():
            if row.sample.missing:
                continue
            for name in self._selection.spared.rewards & row.asked.keys():
                for question in row.asked[name]:
                    given.setdefault((name, question), []).append(found[question])
        return {key_of(*criterion): VerdictCounts.of(each) for criterion, each in given.items()}

    def _needed(self, row: AskedSample) -> Sequence[Question]:
        """Questions without those that are only logged, and without settled ones, which train
        nothing in their group: that one is missing misleads no update."""
        if row.sample.missing:
            return ()
        needed = [row.open(name) for name in row.asked if name in self._trained]
        return list(dict.fromkeys(question for asked in needed for question in asked))

    def _tallies(
        self, rows: Sequence[AskedSample], *answers: Sequence[_Answers]
    ) -> dict[str, Tally]:
        counted: dict[str, list[Answer]] = {reward.name: [] for reward in self._rewards}
        every = [pair for each in answers for pair in zip(rows, each, strict=True)]
        for row, found in every:
            if row.sample.missing:
                continue
            left = dict(found)
            for reward in self._rewards:
                asked = [q for q in row.asked.get(reward.name, ()) if q in left]
                counted[reward.name] += [left.pop(question) for question in asked]
        return {name: Tally.of(each) for name, each in counted.items()}


def _spared(row: AskedSample, reward: JudgedReward, answers: _Answers) -> list[Cell]:
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
