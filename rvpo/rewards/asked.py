"""The questions about one sample, on their way, and the responses that are compared."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from concurrent.futures import CancelledError, Future
from dataclasses import dataclass, field
from typing import Final

from rvpo.judge.types import Answer, Question
from rvpo.rewards.comparison import Shown
from rvpo.rewards.spare import SPARED, Streak
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
        """Waits for them; nothing of a repeat that was not asked for."""
        sent = [each.answers() for each in self.sent if each.repeat == repeat]
        if repeat and not sent:
            return {}
        together = {question: answer for each in sent for question, answer in each.items()}
        found = {question: together[question] for question in self.questions}
        return dict.fromkeys(self.spared, SPARED) | found


@dataclass(frozen=True)
class ComparedGroup:
    """Responses that are compared with one another."""

    shown: Sequence[Shown]
    rows: Sequence[AskedSample]
    """The sample that each counts for, and whose answers hold those about it."""
