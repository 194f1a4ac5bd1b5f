"""A reward that a sequence classifier gives: a reward model, or one that finds what is unsafe."""

from __future__ import annotations

from collections.abc import Mapping, Sequence, Set
from dataclasses import dataclass, replace
from typing import Self

from rvpo.config.judges import place_of
from rvpo.config.rewards import ClassifierRewardConfig, Condition, Label
from rvpo.criterion import Polarity
from rvpo.errors import ConfigError, nearest
from rvpo.judge.client.classifier import ClassifierCard, labels_here
from rvpo.judge.scores import Scores
from rvpo.judge.types import Answer, Question
from rvpo.rewards.cell import Cell
from rvpo.satisfied import Satisfied
from rvpo.schedule import Ramp
from rvpo.types import Failed, Prompt, Remark

_MOST_SHOWN = 8  # scores of a remark


@dataclass(frozen=True, kw_only=True)
class ClassifierReward:
    """The score of one label, or of several, each in a column of its own.

    Args:
        name: the one in reports and metrics.
        judge: name of the classifier that is asked.
        channels: number of the label of each column; under the column's name where there are
            several.
        question: the one about every sample.
        labels: names of the scores in their order; none where they are not known.
        is_only: no label is named, for the classifier has a single score.
        polarity: value of a high score.
        weight: the whole reward's; its columns share it.
        condition: see `Condition`.
        satisfied: scores that are good enough; None for those of verdicts.
    """

    name: str
    judge: str
    channels: Mapping[str, int]
    question: Question
    labels: tuple[str, ...] = ()
    is_only: bool = False
    polarity: Polarity = "positive"
    weight: float | Ramp = 1.0
    condition: Condition | None = None
    satisfied: Satisfied | None = None

    @classmethod
    def from_config(cls, name: str, config: ClassifierRewardConfig, judge: str) -> ClassifierReward:
        """The reward that the settings describe, checked against the classifier's files where they
        are here.

        Args:
            judge: name of its classifier.

        Raises:
            ConfigError: there is no such classifier, or it has no such label or no chat template.
        """
        where = f"rewards.{name}"
        labels = _known_labels(config, where)
        wanted = config.labels or {"": 0 if config.label is None else config.label}
        if config.label is None and not config.labels and len(labels) > 1:
            raise ConfigError(
                f"{where}.label: required, for the classifier has {len(labels)} scores; choose "
                f"from {', '.join(labels)}"
            )
        return cls(
            name=name,
            judge=judge,
            channels={
                channel: _number(
                    label, labels, f"{where}.labels.{channel}" if channel else f"{where}.label"
                )
                for channel, label in wanted.items()
            },
            question=Question("score", config.template, sees=config.sees, logits=config.is_logit),
            labels=labels,
            is_only=config.label is None and not config.labels,
            polarity=config.polarity,
            weight=config.weight,
            condition=config.only_if,
            satisfied=config.satisfied,
        )

    @property
    def columns(self) -> tuple[str, ...]:
        """Names of its columns."""
        return tuple(
            f"{self.name}/{channel}" if channel else self.name for channel in self.channels
        )

    @property
    def aspects(self) -> tuple[str, ...]:
        """Names that reports show of it: its own, and its columns'."""
        return tuple(dict.fromkeys((self.name, *self.columns)))

    def fitted(self, prompts: Sequence[Prompt]) -> Self:
        """The same reward: prompts bring nothing for it."""
        return self

    def asking(self, judge: str) -> Self:
        """The same reward: no judge gives the scores of a classifier."""
        return self

    def apart(self) -> Self:
        """The same reward, for itself: of weight 0 and without a condition."""
        return replace(self, weight=0.0, condition=None)

    def questions(self, prompt: Prompt) -> tuple[Question, ...]:
        """The one question about each sample."""
        return (self.question,)

    def cells(self, prompt: Prompt, answers: Mapping[Question, Answer]) -> list[Cell]:
        """One for each of `columns`, from the answer."""
        answer = answers[self.question]
        share = 1 / len(self.channels)
        return [
            self._cell(column, number, share, answer)
            for column, number in zip(self.columns, self.channels.values(), strict=True)
        ]

    def loss(self, answer: Answer) -> str:
        """Reason that an answer has no score for some column; empty where it has them all."""
        read = (self._read(number, answer) for number in self.channels.values())
        return next((each.reason for each in read if isinstance(each, Failed)), "")

    def unusable(self, prompt: Prompt, answers: Mapping[Question, Answer]) -> Set[Question]:
        """The question, if it failed or its answer has no score for some column."""
        return {self.question} if self.loss(answers[self.question]) else set()

    def _cell(self, column: str, number: int, share: float, answer: Answer) -> Cell:
        aspects = tuple(dict.fromkeys((self.name, column)))
        read = self._read(number, answer)
        if isinstance(read, Failed):
            return Cell(read, share, aspects)
        score, scores = read
        return Cell(score, share, aspects, self._remark(number, score, scores))

    def _read(self, number: int, answer: Answer) -> tuple[float, Scores] | Failed:
        """The score of a label, and all of them."""
        if answer.value is None:
            return Failed(answer.failure or "no answer")
        try:
            scores = Scores.from_text(answer.reason)
        except ValueError:
            return Failed("no scores")
        count = len(scores.values)
        if number >= count or (self.labels and len(self.labels) != count):
            return Failed(f"{count} scores, and not {len(self.labels) or number + 1}")
        if self.is_only and count > 1:
            return Failed(f"{count} scores, and no label is named")
        # The server says a known name, and the highest score is another's: they are mixed up.
        if scores.label in self.labels and scores.label != self.labels[scores.best]:
            return Failed("labels in another order")
        value = scores.values[number]
        if self.question.logits:
            return (value if self.polarity == "positive" else -value), scores
        if not 0 <= value <= 1:
            return Failed("score is no probability")
        return (value if self.polarity == "positive" else 1.0 - value), scores

    def _remark(self, number: int, score: float, scores: Scores) -> Remark:
        names = self.labels or tuple(map(str, range(len(scores.values))))
        shown = zip(names[:_MOST_SHOWN], scores.values, strict=False)
        return Remark(
            f"{names[number]}, by {place_of(self.judge)}",
            f"{score:.4g}",
            ", ".join(f"{name} {value:.4g}" for name, value in shown),
        )


def _known_labels(config: ClassifierRewardConfig, where: str) -> tuple[str, ...]:
    """The names of a classifier's scores, as far as they are known here."""
    given, serve = config.classifier.labels, config.classifier.serve
    if serve is None:
        return given or labels_here(config.classifier.model)
    setting = f"{where}.classifier.serve.model"
    card = ClassifierCard.read(serve.model, setting, allow_pickle=serve.allow_pickle)
    if config.template == "chat" and not card.has_chat_template:
        raise ConfigError(
            f"{where}.template: the tokenizer of {serve.model!r} has no chat template; write "
            "template: pair, or a text with <<response>> as the classifier was trained to read it"
        )
    if given and len(given) != len(card.labels):
        raise ConfigError(
            f"{where}.classifier.labels: {len(given)} names, and {serve.model!r} has "
            f"{len(card.labels)} scores; give as many, or leave them out"
        )
    return given or card.labels


def _number(label: Label, labels: Sequence[str], where: str) -> int:
    """The number of a label."""
    if isinstance(label, int):
        if labels and label >= len(labels):
            raise ConfigError(
                f"{where}: {label} is none of the {len(labels)} labels {', '.join(labels)}, "
                "counted from 0"
            )
        return label
    if (times := labels.count(label)) > 1:
        numbers = ", ".join(str(n) for n, name in enumerate(labels) if name == label)
        raise ConfigError(
            f"{where}: the classifier has {times} labels named {label!r}; write the number of the "
            f"one that is meant, of {numbers}"
        )
    if times:
        return labels.index(label)
    if not labels:
        raise ConfigError(
            f"{where}: the number of {label!r} is not known, for the classifier's files are not "
            "here; give its number from 0 on, or name all of them in classifier.labels"
        )
    guess = nearest(label, list(labels))
    meant = f"did you mean {guess!r}?" if guess else f"choose from {', '.join(labels)}"
    raise ConfigError(f"{where}: the classifier has no label {label!r}; {meant}")
