"""The judge's part in scoring a rollout: ask while samples arrive, wait for what is left."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import CancelledError, Future
from dataclasses import dataclass, replace
from queue import Empty, SimpleQueue
from time import monotonic
from typing import Any, Final

from rvpo.config.judge import BudgetConfig, RepeatConfig
from rvpo.errors import RewardError
from rvpo.judge.spending import SPENT
from rvpo.judge.types import Answer, Job, Judge, Question
from rvpo.rewards.judged import JudgedReward, every_question
from rvpo.rewards.repeats import ONCE, Repeating
from rvpo.rewards.tally import Tally
from rvpo.runtime.ignore import ignore
from rvpo.types import Sample

NOTICE_S: Final = 15.0
"""A longer wait is told of, and again whenever it has doubled."""

NOT_ASKED = Answer(value=None, failure="not asked, too many had failed")
_TOO_FEW = 20
"""Failures that do not yet show that the judge is down."""


Notice = Callable[[str], None]


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

    def without_answers(self) -> Verdicts:
        """The counts alone, for other ranks."""
        return replace(self, answers=(), again=())


@dataclass(frozen=True, slots=True)
class _Sent:
    """Questions about one sample, on their way."""

    questions: tuple[Question, ...]
    future: Future[tuple[Answer, ...]]
    repeat: int

    def answers(self) -> dict[Question, Answer]:
        """Waits for them."""
        try:
            return dict(zip(self.questions, self.future.result(), strict=True))
        except CancelledError:
            return dict.fromkeys(self.questions, NOT_ASKED)


@dataclass(frozen=True)
class AskedJudge:
    """A judge, the shares of its verdicts that may fail, and of those that it is asked again."""

    judge: Judge
    budget: BudgetConfig
    repeat: RepeatConfig | None = None


class Judging:
    """Questions to one judge about a rollout, on their way.

    Args:
        rewards: those that the judge gives.
        trained: names of those among them that the update depends on.
        repeats: prompts whose questions are asked several times.
    """

    def __init__(
        self,
        rewards: Sequence[JudgedReward],
        trained: frozenset[str],
        judge: Judge | None,
        budget: BudgetConfig,
        notice: Notice = ignore,
        repeats: Repeating = ONCE,
    ) -> None:
        if rewards and judge is None:
            raise RewardError(f"reward '{rewards[0].name}' needs a judge, and there is none")
        self._rewards = rewards
        self._trained = trained
        self._judge = judge
        self._budget = budget
        self._notice = notice
        self._repeats = repeats
        self._sent: dict[int, list[_Sent]] = {}  # by row
        self._asked: dict[str, tuple[Question, ...]] = {}  # by prompt
        self._needed_of: dict[str, tuple[Question, ...]] = {}

    def ask(self, row: int, sample: Sample) -> None:
        """Send everything that there is to ask about a sample, once; returns at once."""
        questions = self._questions(sample)
        if row in self._sent or not questions or self._judge is None:
            return
        self._sent[row] = []
        for sees in dict.fromkeys(question.sees for question in questions):
            asked = tuple(question for question in questions if question.sees == sees)
            job = Job(conversation=sample.prompt.turns, response=sample.seen(sees), questions=asked)
            for repeat in self._repeats.of(sample.prompt):
                sent = self._judge.submit(replace(job, repeat=repeat))
                self._sent[row].append(_Sent(asked, sent, repeat))

    def needed(self, samples: Sequence[Sample]) -> int:
        """Verdicts on these samples that training needs."""
        return sum(len(self._needed(sample)) for sample in samples)

    def finish(self, samples: Sequence[Sample], step_needed: int) -> Verdicts:
        """Wait for every answer about these samples, the rollout's rows in order.

        Once so many have failed that the step cannot be used, the rest is not waited for.

        Args:
            step_needed: `needed` of all ranks together.
        """
        for row, sample in enumerate(samples):
            self.ask(row, sample)
        started = monotonic()
        self._wait(samples, step_needed)
        waited_s = monotonic() - started
        answers = [self._answers(row, sample) for row, sample in enumerate(samples)]
        pairs = list(zip(samples, answers, strict=True))
        failures = Counter(
            found[q].failure or "no answer"
            for sample, found in pairs
            for q in self._needed(sample)
            if found[q].value is None
        )
        again = [
            [self._answers(row, sample, repeat) for row, sample in enumerate(samples)]
            for repeat in range(1, self._repeats.times)
        ]
        return Verdicts(
            answers=answers,
            again=again,
            tallies=self._tallies(samples, answers, *again),
            asked=[len(self._needed(sample)) for sample in samples],
            failed=[self._lost(sample, found) for sample, found in pairs],
            failures=failures,
            waited_s=waited_s,
        )

    def _wait(self, samples: Sequence[Sample], step_needed: int) -> None:
        rows = {sent.future: row for row, each in self._sent.items() for sent in each}
        unanswered = Counter(rows.values())
        left = max(self._budget.step * step_needed, _TOO_FEW)
        for future in as_done(list(rows), self._notice):
            row = rows[future]
            unanswered[row] -= 1
            if future.cancelled() or left < 0 or unanswered[row]:
                continue
            sample = samples[row]
            found = self._answers(row, sample)
            if any(answer.failure == SPENT for answer in found.values()):
                continue  # nothing more is asked, and all that is under way is paid for
            left -= self._lost(sample, found)
            if left < 0 and self._judge is not None:
                self._judge.cancel()

    def _lost(self, sample: Sample, found: Mapping[Question, Answer]) -> int:
        """Verdicts that training needs and cannot use."""
        lost: set[Question] = set()
        for reward in self._rewards:
            if reward.name in self._trained:
                lost |= reward.unusable(sample.prompt, found)
        return len(lost)

    def _answers(self, row: int, sample: Sample, repeat: int = 0) -> Mapping[Question, Answer]:
        found = [sent.answers() for sent in self._sent.get(row, ()) if sent.repeat == repeat]
        together = {question: answer for each in found for question, answer in each.items()}
        if repeat and not found:
            return {}
        return {question: together[question] for question in self._questions(sample)}

    def _questions(self, sample: Sample) -> tuple[Question, ...]:
        prompt = sample.prompt
        if prompt.id not in self._asked:
            self._asked[prompt.id] = every_question(self._rewards, prompt)
        return self._asked[prompt.id]

    def _needed(self, sample: Sample) -> tuple[Question, ...]:
        """Questions without those that are only logged: that one is missing misleads no update."""
        prompt = sample.prompt
        if prompt.id not in self._needed_of:
            trained = [reward for reward in self._rewards if reward.name in self._trained]
            self._needed_of[prompt.id] = every_question(trained, prompt)
        return self._needed_of[prompt.id]

    def _tallies(
        self, samples: Sequence[Sample], *answers: Sequence[Mapping[Question, Answer]]
    ) -> dict[str, Tally]:
        counted: dict[str, list[Answer]] = {reward.name: [] for reward in self._rewards}
        every = [pair for each in answers for pair in zip(samples, each, strict=True)]
        for sample, found in every:
            left = dict(found)
            for reward in self._rewards:
                asked = [q for q in reward.questions(sample.prompt) if q in left]
                counted[reward.name] += [left.pop(question) for question in asked]
        return {name: Tally.of(each) for name, each in counted.items()}


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
