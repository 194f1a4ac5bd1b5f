"""A reward that the judge gives, by the criteria of a rubric."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence, Set
from dataclasses import dataclass, field, replace
from typing import Literal

from rvpo.config.judges import OWN
from rvpo.config.rewards import Condition
from rvpo.config.spare import SpareConfig
from rvpo.criterion import CLASS_WEIGHTS, Criterion
from rvpo.errors import ConfigError, DataError, nearest
from rvpo.files.literal import inside
from rvpo.judge.template import JudgeTemplate
from rvpo.judge.types import Answer, Question, QuestionKind
from rvpo.judge.verdict import told
from rvpo.rewards.cell import EMPTY, Cell
from rvpo.rewards.reference import answer_in
from rvpo.rewards.remark import CriterionRemark, Judged, RubricRemark
from rvpo.rewards.spare import SPARED, Streak
from rvpo.rubrics.column import CriteriaColumn, read_column
from rvpo.rubrics.sign import Doubtful
from rvpo.satisfied import Satisfied
from rvpo.scale import Grades, alike
from rvpo.schedule import Ramp
from rvpo.thinking import Sees
from rvpo.types import Failed, Prompt, Remark

Weighing = Literal["uniform", "class", "points"]

WEIGHINGS: Mapping[Weighing, Callable[[Criterion], float]] = {
    "uniform": lambda criterion: 1.0,
    "class": lambda criterion: CLASS_WEIGHTS[criterion.label],
    "points": lambda criterion: criterion.points,
}
"""Weights of a criterion against the others of its prompt."""


@dataclass(frozen=True, kw_only=True)
class RubricReward:
    """Criteria judged one by one, their weighted mean, or one rating by all of them.

    `channels` gives a column to each criterion: under its name where every prompt has the same
    criteria, else as the first, second, … of its prompt. `explicit` is the weighted mean of the
    verdicts and fails with any of them; `implicit` is the judge's rating, 1 to 10 scaled to 0 to 1
    (both: Rubrics as Rewards, arXiv:2507.17746).

    Args:
        name: the one in reports and metrics.
        form: one of these three.
        weight: the whole rubric's; its criteria share it.
        condition: see `Condition`.
        satisfied: scores that are good enough; None for those of verdicts.
        fixed: the criteria of every prompt, by name; empty where the data bring them.
        column: the data's, holding each prompt's criteria; `a.b` is the field b of column a.
        doubtful: treatment of criteria whose points and wording disagree; see `read_column`.
        weighing: weights of criteria against each other.
        judge: name of the judge that is asked.
        sees: part of a completion that it is shown.
        reference: column that holds a good answer to show beside it; empty for none.
        scale: grades of criteria that have none of their own, and of the rating.
        expected: scores are mean grades by the judge's log-probabilities.
        slots: most criteria of a prompt; set by `fitted`.
        groups: classes and axes that occur; set by `fitted`.
        spare: see `SpareConfig`; for `channels`.
    """

    name: str
    form: Literal["channels", "explicit", "implicit"]
    weight: float | Ramp = 1.0
    condition: Condition | None = None
    satisfied: Satisfied | None = None
    fixed: Mapping[str, Criterion] = field(default_factory=dict)
    column: str = "rubric"
    doubtful: Doubtful = "drop"
    weighing: Weighing = "uniform"
    judge: str = OWN
    sees: Sees = "answer"
    reference: str = ""
    scale: Grades = ()
    expected: bool = False
    slots: int = 0
    groups: tuple[str, ...] = ()
    spare: SpareConfig | None = None

    def fitted(self, prompts: Sequence[Prompt]) -> RubricReward:
        """The reward with as many columns as these prompts need, and the names of their classes and
        axes.

        Raises:
            DataError: a prompt's criteria cannot be read, or it has no reference answer.
        """
        if self.fixed and not self.reference:
            return self
        slots, groups = 0, set[str]()
        for prompt in prompts:
            rubric = self.checked(prompt)
            slots = max(slots, len(rubric))
            groups |= {group for criterion in rubric for group in _groups(criterion)}
        if self.fixed:
            return self
        if not slots:
            columns = [name for prompt in prompts[:1] for name in prompt.columns]
            guess = nearest(self.column, columns)
            meant = f"did you mean '{guess}'? " if guess else ""
            raise DataError(
                f"rewards.{self.name}: no prompt has criteria in a column '{self.column}', the "
                f"data have {', '.join(columns) or 'none'}; {meant}Load them with "
                "data.train={rubrics: ..., format: ...}, or name criteria of your own under "
                f"rewards.{self.name}.criteria"
            )
        return replace(self, slots=slots, groups=tuple(sorted(groups)))

    @property
    def columns(self) -> tuple[str, ...]:
        """Names of its columns."""
        if self.form != "channels":
            return (self.name,)
        names = self.fixed or [str(slot + 1) for slot in range(self.slots)]
        return tuple(f"{self.name}/{name}" for name in names)

    @property
    def aspects(self) -> tuple[str, ...]:
        """Names that reports show of it: its own, and its criteria's, or their classes and axes."""
        if self.form != "channels":
            return (self.name,)
        parts = self.fixed or self.groups
        return (self.name, *(f"{self.name}/{part}" for part in parts))

    def criteria(self, prompt: Prompt) -> tuple[Criterion, ...]:
        """The prompt's criteria.

        Raises:
            DataError: what its column holds are no criteria.
        """
        if self.fixed:
            return tuple(self.fixed.values())
        return self.brought(prompt).criteria

    def brought(self, prompt: Prompt) -> CriteriaColumn:
        """The criteria that the data bring for a prompt, and what was unclear about them.

        Raises:
            DataError: what its column holds are no criteria.
        """
        value = inside(prompt.columns, self.column)
        where = f"prompt {prompt.id!r}: column '{self.column}'"
        try:
            column = read_column(value, self.doubtful)
        except (TypeError, ValueError) as error:
            raise DataError(f"{where} holds no criteria ({error})") from error
        if column is None:
            raise DataError(
                f"{where} holds a {type(value).__name__}; criteria are a list of texts or of "
                "tables with a text, or text that has one in each of its numbered lines"
            )
        return column

    def checked(self, prompt: Prompt) -> tuple[Criterion, ...]:
        """The prompt's criteria, when nothing else is missing that the judge is shown.

        Raises:
            DataError: what its column holds are no criteria, their grades cannot be told apart,
                or there is no reference answer.
        """
        criteria = self.criteria(prompt)
        for criterion in criteria:
            asked = self.question(prompt, criterion)
            if self.expected and self.form != "implicit" and (twice := alike(asked.scale)):
                raise DataError(f"prompt {prompt.id!r}: criterion {criterion.text!r:.80}: {twice}")
        return criteria

    def check_template(self, template: JudgeTemplate) -> None:
        """
        Raises:
            ConfigError: the judge's template would not show the reference, or show none.
        """
        setting = f"rewards.{self.name}.reference"
        if self.reference and not template.has_reference:
            raise ConfigError(
                f"{setting}: {template.where} has no <<reference>>, so the judge would not see "
                f"column '{self.reference}'; put it where that is to stand, or leave reference out"
            )
        if template.has_reference and not self.reference:
            raise ConfigError(
                f"{template.where} shows a <<reference>>, and rewards.{self.name} has none; set "
                f"{setting} to the column that holds it, or take <<reference>> out"
            )

    def questions(self, prompt: Prompt) -> tuple[Question, ...]:
        """Questions to the judge about each sample of the prompt; nothing without criteria."""
        criteria = self.criteria(prompt)
        if self.form == "implicit":
            return (self._rating(prompt, criteria),) if criteria else ()
        return tuple(dict.fromkeys(self.question(prompt, criterion) for criterion in criteria))

    def question(self, prompt: Prompt, criterion: Criterion) -> Question:
        """The question that asks for one criterion.

        Raises:
            DataError: the prompt has no reference answer.
        """
        return self._question(prompt, "criterion", criterion.text, criterion.scale or self.scale)

    def _question(self, prompt: Prompt, kind: QuestionKind, text: str, scale: Grades) -> Question:
        return Question(
            kind,
            text,
            sees=self.sees,
            reference=shown_reference(prompt, self.reference, self.name) if self.reference else "",
            scale=scale,
            expected=self.expected,
        )

    def asking(self, judge: str) -> RubricReward:
        """The same reward, given by another judge."""
        return replace(self, judge=judge)

    def apart(self) -> RubricReward:
        """The same reward with a score for each criterion, unless one rating is asked for."""
        form = "channels" if self.form == "explicit" else self.form
        return replace(self, form=form, weight=0.0, condition=None)

    def unusable(self, prompt: Prompt, answers: Mapping[Question, Answer]) -> Set[Question]:
        """Questions whose answers it cannot use: of a weighted mean all, if one failed."""
        asked = self.questions(prompt)
        failed = {question for question in asked if answers[question].value is None}
        return set(asked) if failed and self.form == "explicit" else failed

    def cells(self, prompt: Prompt, answers: Mapping[Question, Answer]) -> list[Cell]:
        """One for each of `columns`, from the answers to `questions`."""
        criteria = self.criteria(prompt)
        if not criteria:
            return [EMPTY] * len(self.columns)
        if self.form == "implicit":
            rating = self._rating(prompt, criteria)
            return [self._rated(rating, answers[rating])]
        judged = [
            Judged(criterion, share, question, answers[question])
            for criterion, share in zip(criteria, self._shares(criteria), strict=True)
            for question in (self.question(prompt, criterion),)
        ]
        if self.form == "explicit":
            return [self._explicit(judged)]
        names: list[str | None] = list(self.fixed) or [None] * len(criteria)
        cells = [self._channel(name, one) for name, one in zip(names, judged, strict=True)]
        return cells + [EMPTY] * (len(self.columns) - len(cells))

    def spared(
        self,
        prompt: Prompt,
        cells: Sequence[Cell],
        answers: Mapping[Question, Answer],
        settled: Mapping[Question, Streak],
    ) -> list[Cell]:
        """The cells of a sample, once some criteria were asked of a few samples of its group alone.

        Args:
            cells: one for each column, by these answers.
            settled: such criteria, whether or not this sample was asked.
        """
        found = list(cells)
        for place, criterion in enumerate(self.criteria(prompt)):
            question = self.question(prompt, criterion)
            streak = settled.get(question)
            if streak is None:
                continue
            cell = replace(found[place], spared=True)
            if answers[question] == SPARED:
                remark = CriterionRemark.not_asked(criterion, cell.share, streak)
                cell = replace(cell, score=None, remark=remark)
            found[place] = cell
        return found

    def _rating(self, prompt: Prompt, criteria: Sequence[Criterion]) -> Question:
        lines = [
            c.text if c.polarity == "positive" else f"(to be avoided) {c.text}" for c in criteria
        ]
        text = "\n".join(f"{i}. {line}" for i, line in enumerate(lines, start=1))
        return self._question(prompt, "rating", text, self.scale)

    def _shares(self, criteria: Sequence[Criterion]) -> list[float]:
        weights = [WEIGHINGS[self.weighing](criterion) for criterion in criteria]
        total = sum(weights)
        # All of 0 points: none can count more than another.
        return [w / total for w in weights] if total else [1 / len(criteria)] * len(criteria)

    def _channel(self, name: str | None, judged: Judged) -> Cell:
        parts = (name,) if name is not None else _groups(judged.criterion)
        return Cell(
            judged.score,
            judged.share,
            (self.name, *(f"{self.name}/{part}" for part in parts)),
            None if judged.answer.value is None else CriterionRemark.of(judged),
        )

    def _explicit(self, judged: Sequence[Judged]) -> Cell:
        said = RubricRemark.of(judged)
        score = 0.0
        for one in judged:
            if isinstance(one.score, Failed):
                return Cell(one.score, aspects=(self.name,), remark=said)
            score += one.share * one.score
        return Cell(score, aspects=(self.name,), remark=said)

    def _rated(self, rating: Question, answer: Answer) -> Cell:
        if answer.value is None:
            return Cell(Failed(answer.failure or "no answer"), aspects=(self.name,))
        said = Remark("the whole rubric", told(rating, answer.value), answer.reason)
        return Cell(answer.value, aspects=(self.name,), remark=said)


def shown_reference(prompt: Prompt, column: str, reward: str) -> str:
    """The reference answer that a column of the data holds.

    Args:
        reward: name of the one that shows it, for messages.

    Raises:
        DataError: there is no such column, or it holds nothing to see, or no text.
    """
    where = f"rewards.{reward}.reference: prompt {prompt.id!r}"
    if column not in prompt.columns:
        guess = nearest(column, list(prompt.columns))
        meant = f"did you mean '{guess}'?" if guess else "name the column of a good answer"
        raise DataError(
            f"{where} has no column '{column}', it has {', '.join(prompt.columns) or 'none'}; "
            f"{meant}, or leave reference out"
        )
    value = prompt.columns[column]
    if value is not None and not isinstance(value, str | int | float):
        raise DataError(
            f"{where}: column '{column}' holds a {type(value).__name__}; a reference answer is text"
        )
    text = answer_in(value)
    if not text:
        found = "empty" if value is None or isinstance(value, str) else str(value)
        raise DataError(
            f"{where}: column '{column}' is {found}; give every prompt a reference answer, or "
            "leave reference out"
        )
    return text


def _groups(criterion: Criterion) -> tuple[str, ...]:
    return (criterion.label, criterion.axis) if criterion.axis else (criterion.label,)
