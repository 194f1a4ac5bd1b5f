"""The judgement of one response, with every repeat."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from itertools import combinations
from statistics import fmean
from typing import Any

from rvpo.criterion import Criterion
from rvpo.judge.types import Answer, Question
from rvpo.rewards.rubric import RubricReward
from rvpo.scale import plain
from rvpo.trial.response import Response
from rvpo.types import Failed, Prompt


@dataclass(frozen=True, slots=True, kw_only=True)
class RepeatedVerdict:
    """All answers to one question about one response."""

    reward: str
    question: Question
    criterion: Criterion | None
    """The criterion asked for; None where the question is a rating by the whole rubric."""
    name: str | None
    """Name of a criterion that every prompt has; else None."""
    answers: tuple[Answer, ...]  # [R] repeats

    @property
    def part(self) -> str | None:
        """Part of the reward that it counts towards: the criterion, or its class where prompts have
        criteria of their own; None for a rating."""
        return self.name or (None if self.criterion is None else self.criterion.label)

    @property
    def score(self) -> float | None:
        """Mean over the repeats that have an answer, polarity applied; None without any."""
        values = [answer.value for answer in self.answers if answer.value is not None]
        if not values:
            return None
        return fmean(values) if self.criterion is None else self.criterion.score(fmean(values))

    @property
    def failed(self) -> int:
        """Answers that are missing."""
        return sum(answer.value is None for answer in self.answers)

    def to_json(self) -> dict[str, Any]:
        """Everything, as a JSON line holds it."""
        criterion, scale = self.criterion, self.question.scale
        graded = {"scale": plain(scale)} if scale else {}
        return graded | {
            "reward": self.reward,
            "name": self.name,
            "kind": self.question.kind,
            "text": self.question.text,
            "polarity": criterion.polarity if criterion else None,
            "class": criterion.label if criterion else None,
            "axis": criterion.axis if criterion else None,
            "score": self.score,
            "answers": [asdict(answer) for answer in self.answers],
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class Judgement:
    """One response, judged."""

    response: Response
    verdicts: tuple[RepeatedVerdict, ...]
    """Verdicts by reward, in the order of the criteria. Rewards may share a question and its
    answers."""
    scores: Mapping[str, float | None]
    """Scores by reward, as a run has them, criteria weighed: the mean over the repeats that lack no
    verdict; None without any. No entry where the prompt has no criteria."""
    cells: Mapping[str, tuple[float | None, float]]
    """Score and share of its reward, by column, as an estimator is given them: the mean over the
    repeats that have a verdict. No entry for columns that the prompt has no criterion for."""
    answers: Mapping[tuple[str, Question], tuple[Answer, ...]]
    """[R] to each question of each judge, those that rewards share once."""

    @classmethod
    def of(
        cls,
        response: Response,
        rewards: Sequence[RubricReward],
        answers: Sequence[Mapping[Question, Answer]],
    ) -> Judgement:
        """
        Args:
            rewards: those of one judge.
            answers: [R] each repeat's, to all questions of the rewards.
        """
        together = {q: tuple(found[q] for found in answers) for q in answers[0]}
        prompt = response.prompt
        verdicts = [v for r in rewards for v in _verdicts(r, prompt, together)]
        return cls(
            response=response,
            verdicts=tuple(verdicts),
            scores={
                reward.name: mean(_score(reward, prompt, found) for found in answers)
                for reward in rewards
                if reward.questions(prompt)
            },
            cells={
                name: cell for r in rewards for name, cell in _columns(r, prompt, answers).items()
            },
            answers={(r.judge, q): together[q] for r in rewards for q in r.questions(prompt)},
        )

    @classmethod
    def joined(cls, parts: Sequence[Judgement]) -> Judgement:
        """Those of the same response by several judges, as one."""
        return cls(
            response=parts[0].response,
            verdicts=tuple(verdict for part in parts for verdict in part.verdicts),
            scores={name: score for part in parts for name, score in part.scores.items()},
            cells={name: cell for part in parts for name, cell in part.cells.items()},
            answers={key: answers for part in parts for key, answers in part.answers.items()},
        )

    def to_json(self) -> dict[str, Any]:
        """Everything, as a JSON line holds it."""
        prompt = self.response.prompt
        return {
            "prompt_id": prompt.id,
            "kind": self.response.kind,
            "prompt": [dict(message) for message in prompt.messages],
            "completion": self.response.text,
            "scores": dict(self.scores),
            "cells": {
                n: {"score": score, "share": share} for n, (score, share) in self.cells.items()
            },
            "verdicts": [verdict.to_json() for verdict in self.verdicts],
        }


def agreement(answers: Iterable[Sequence[Answer]]) -> float | None:
    """Share of the pairs of repeats of a question whose verdicts are equal; None without a pair.

    Args:
        answers: [R] each question's; failed ones are in no pair.
    """
    known = [[a.value for a in each if a.value is not None] for each in answers]
    return mean(float(a == b) for values in known for a, b in combinations(values, 2))


def answers_by(judge: str, judgements: Iterable[Judgement]) -> list[Answer]:
    """Every answer of a judge, those that rewards share once."""
    found = [each for j in judgements for (name, _), each in j.answers.items() if name == judge]
    return [answer for answers in found for answer in answers]


def _verdicts(
    reward: RubricReward, prompt: Prompt, answers: Mapping[Question, tuple[Answer, ...]]
) -> list[RepeatedVerdict]:
    if reward.form == "implicit":
        return [
            RepeatedVerdict(
                reward=reward.name, question=q, criterion=None, name=None, answers=answers[q]
            )
            for q in reward.questions(prompt)
        ]
    criteria = reward.criteria(prompt)
    asked = [reward.question(prompt, criterion) for criterion in criteria]
    names: Sequence[str | None] = list(reward.fixed) or [None] * len(criteria)
    return [
        RepeatedVerdict(reward=reward.name, question=q, criterion=c, name=name, answers=answers[q])
        for q, c, name in zip(asked, criteria, names, strict=True)
    ]


def _columns(
    reward: RubricReward, prompt: Prompt, answers: Sequence[Mapping[Question, Answer]]
) -> dict[str, tuple[float | None, float]]:
    """
    Args:
        answers: [R] each repeat's.
    """
    if not reward.questions(prompt):
        return {}
    reward = reward.fitted([prompt])  # with as many columns as it has criteria
    repeats = [reward.cells(prompt, found) for found in answers]
    columns = zip(reward.columns, zip(*repeats, strict=True), strict=True)
    return {
        name: (mean(c.score if isinstance(c.score, float) else None for c in cells), cells[0].share)
        for name, cells in columns
        if cells[0].aspects
    }


def _score(
    reward: RubricReward, prompt: Prompt, answers: Mapping[Question, Answer]
) -> float | None:
    """The weighted mean of the reward's columns, None where one of them failed."""
    score = 0.0
    for cell in reward.cells(prompt, answers):
        if isinstance(cell.score, Failed):
            return None
        score += 0.0 if cell.score is None else cell.share * cell.score  # None: a place left free
    return score


def mean(values: Iterable[float | None]) -> float | None:
    """Over the values that are known; None where none is."""
    known = [value for value in values if value is not None]
    return fmean(known) if known else None
