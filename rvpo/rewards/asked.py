"""The questions about one sample, on their way, and the responses that are compared."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from concurrent.futures import CancelledError, Future
from dataclasses import dataclass, field
from typing import Final

from rvpo.episode import text_of
from rvpo.judge.types import Answer, Job, Question
from rvpo.rewards.comparison import Shown
from rvpo.rewards.spare import SPARED, Streak
from rvpo.thinking import Sees
from rvpo.types import Sample

NOT_ASKED: Final = Answer(value=None, failure="not asked, too many had failed")

Settled = Mapping[Question, Streak]
"""Criteria that are asked of a few samples of a group."""


@dataclass(frozen=True, slots=True)
class Sent:
    """Questions about one response, on their way."""

    questions: tuple[Question, ...]
    future: Future[tuple[Answer, ...]]
    repeat: int

    def answers(self) -> dict[Question, Answer]:
        """Waits for them."""
        try:
            return dict(zip(self.questions, self.future.result(), strict=True))
        except CancelledError:
            return dict.fromkeys(self.questions, NOT_ASKED)


@dataclass(eq=False)
class AskedSample:
    """A sample, and the questions about it."""

    sample: Sample
    asked: dict[str, tuple[Question, ...]]
    """Questions by reward."""
    settled: Mapping[str, Settled] = field(default_factory=dict)
    """Those by reward that were asked of a few samples of the group, be it of this one or not."""
    sent: list[Sent] = field(default_factory=list)
    unpaired: str = ""
    """Reason that it is compared with nothing that has a score; empty where there is none."""

    @property
    def questions(self) -> tuple[Question, ...]:
        """Each question once."""
        return tuple(dict.fromkeys(q for asked in self.asked.values() for q in asked))

    def open(self, reward: str) -> tuple[Question, ...]:
        """Questions of a reward that are asked of every sample of the group."""
        settled = self.settled.get(reward, {})
        return tuple(question for question in self.asked[reward] if question not in settled)

    @property
    def spared(self) -> set[Question]:
        """Questions that were not asked of this sample."""
        asked = set(self.questions)
        return {q for settled in self.settled.values() for q in settled if q not in asked}

    def answers(self, repeat: int = 0) -> Mapping[Question, Answer]:
        """Waits for them; nothing of a repeat that was not asked for. Of an episode that has no
        score they all failed, and nobody was asked."""
        if self.sample.missing and not repeat:
            lost = Answer(value=None, failure=self.sample.missing)
            return dict.fromkeys((*self.questions, *self.spared), lost)
        sent = [each.answers() for each in self.sent if each.repeat == repeat]
        if repeat and not sent:
            return {}
        together = {question: answer for each in sent for question, answer in each.items()}
        found = {question: together[question] for question in self.questions}
        return dict.fromkeys(self.spared, SPARED) | found


def job_of(sample: Sample, shown: Shown, sees: Sees, questions: tuple[Question, ...]) -> Job:
    """Questions about a response to a sample's prompt. Of an episode a judge is shown all turns as
    the response; a classifier the last one, in the conversation that led to it.

    Args:
        shown: the response, which may be another one than the sample.
    """
    conversation, episode = sample.prompt.turns, sample.episode
    if episode is None or questions[0].kind != "score":
        return Job(
            conversation=conversation,
            response=shown.seen(sees),
            questions=questions,
            is_episode=episode is not None,
        )
    *before, last = episode.shown(sees, sample.prompt.prefill)
    led = tuple((str(message["role"]), text_of(message)) for message in before)
    return Job(conversation=(*conversation, *led), response=text_of(last), questions=questions)


@dataclass(frozen=True)
class ComparedGroup:
    """Responses that are compared with one another."""

    shown: Sequence[Shown]
    rows: Sequence[AskedSample]
    """The sample that each counts for, and whose answers hold those about it."""
