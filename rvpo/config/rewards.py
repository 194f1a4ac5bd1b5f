"""The settings of rewards."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any, ClassVar, Final, Literal, Self

from pydantic import (
    AfterValidator,
    BeforeValidator,
    Discriminator,
    Field,
    PlainSerializer,
    Tag,
    WithJsonSchema,
    field_validator,
    model_validator,
)

from rvpo.config.classifier import ClassifierConfig, ClassifierJudge
from rvpo.config.judge import JudgeConfig
from rvpo.config.placeholders import placeholder_problem
from rvpo.config.spare import SpareConfig
from rvpo.criterion import CriterionClass, Polarity
from rvpo.errors import nearest
from rvpo.fields import (
    GoodEnough,
    ImportPath,
    Int,
    NonNegativeFloat,
    PositiveFloat,
    PositiveInt,
    Section,
)
from rvpo.scale import alike, plain, scale_of
from rvpo.schedule import Ramp, value_at
from rvpo.thinking import Sees


def _reward_name(value: str) -> str:
    if not re.fullmatch(r"[A-Za-z0-9_-]+", value):
        raise ValueError(
            "a reward's name becomes part of metric names; use letters, digits, - and _"
        )
    return value


def _weight(value: float | Ramp) -> float | Ramp:
    if isinstance(value, Ramp) and min(value.start, value.end) < 0:
        raise ValueError(f"both ends must be at least 0, got {value.start} and {value.end}")
    return value


RewardName = Annotated[str, AfterValidator(_reward_name)]
Weight = Annotated[NonNegativeFloat | Ramp, AfterValidator(_weight)]


@dataclass(frozen=True)
class Condition:
    """r_k becomes r_k · 1[r_l ≥ t]                         GDPO, arXiv:2601.05242, eq. 8

    Raises:
        ValueError: the threshold is not finite.
    """

    __pydantic_config__: ClassVar[dict[str, str]] = {"extra": "forbid"}

    reward: str
    """Name of the other reward; its own scores count, whatever its condition."""
    at_least: float = 1.0
    """Threshold t, in the units of that reward's scores."""

    def __post_init__(self) -> None:
        if not math.isfinite(self.at_least):
            raise ValueError(f"at_least must be a finite number, got {self.at_least}")


class AnyRewardConfig(Section):
    weight: Weight = 1.0
    """Weight among the rewards. 0 logs it without training on it; {start: 0, end: 1} changes over
    training."""
    only_if: Condition | None = None
    """Score 0 where another reward is below a threshold (GDPO, arXiv:2601.05242, eq. 8)."""
    satisfied: GoodEnough | None = None
    """Scores that are good enough (`good`, and above) and that count for nothing (`bad`, and
    below), as in {bad: 0, good: 1.5}; a number alone is `good`. Levels of satisfaction
    (`advantage.inputs: level`), `rewards_joint/satisfied_all_frac` and `worst_mean`, success with
    k answers (`evaluate.at_k`) and comparisons read it. Left out: 0 and 1, as verdicts have."""

    @property
    def largest_weight(self) -> float:
        """Largest weight during the whole training."""
        return max(value_at(self.weight, progress) for progress in (0.0, 1.0))

    @property
    def parts(self) -> str:
        """Word for what it has a score for each of; empty where it has a single one."""
        return ""


class FunctionRewardConfig(AnyRewardConfig):
    """A reward computed by Python."""

    function: ImportPath
    """`module:function` with TRL's reward signature."""
    arguments: dict[str, Any] = Field(default_factory=dict)
    """Further keyword arguments for the function. `{variable: NAME}` at any depth is what the
    environment holds under that name, which is how a function gets a key."""
    sees: Sees | None = None
    """Part of a completion that the function is shown: the answer, or everything, thoughts and
    their markers too. Left out: what the function's own attribute `sees` says, else the answer."""


class JudgedRewardConfig(AnyRewardConfig):
    """A reward given by a judge."""

    judge: str | None = None
    """Name of the judge that is asked, where there are several; the one of the section `judge` if
    left out."""
    sees: Sees = "answer"
    """Part of a completion that the judge is shown: the answer, or everything, thoughts and their
    markers too."""


def _sentence(value: str) -> str:
    if not value.strip():
        raise ValueError(
            "must be a sentence that is true or false of a response, as in 'The response is "
            "friendly.', got a blank one"
        )
    return value


_SCALE_SCHEMA = {"anyOf": [{"type": "object"}, {"type": "array", "items": {"type": "number"}}]}
ScaleField = Annotated[
    tuple[tuple[float, str], ...],
    BeforeValidator(scale_of),
    PlainSerializer(plain, return_type=Any),
    WithJsonSchema(_SCALE_SCHEMA),
]
"""Grades: a table of numbers and words, such as {0: missing, 1: partly, 2: fully}, or a list of
numbers."""


class CriterionConfig(Section):
    """A criterion that every response is judged by."""

    text: Annotated[str, AfterValidator(_sentence)]
    """A sentence that is true or false of a response."""
    polarity: Polarity = "positive"
    """Value of meeting it: good (positive) or bad (negative)."""
    label: CriterionClass = "important"
    """Class, which `weights: class` weighs by."""
    points: PositiveFloat = 1.0
    """Weight by `weights: points`."""
    axis: str = ""
    """Topic, such as accuracy; reports show it."""
    scale: ScaleField = ()
    """Grades of this criterion, in place of those of the reward."""


def _criterion(value: Any) -> Any:
    return {"text": value} if isinstance(value, str) else value


class RubricRewardConfig(JudgedRewardConfig):
    """A reward given by the judge. The criteria of a prompt share its weight."""

    rubric: Literal["channels", "explicit", "implicit"]
    """Each criterion a reward of its own; one reward, the weighted mean of the verdicts; or one
    reward, the judge's rating by the whole rubric in a single call (the latter two are those of
    Rubrics as Rewards, arXiv:2507.17746)."""
    criteria: dict[RewardName, Annotated[CriterionConfig, BeforeValidator(_criterion)]] = Field(
        default_factory=dict
    )
    """The same criteria for every prompt, by name; text alone will do. Left out where the data
    bring them."""
    column: str = "rubric"
    """The column of the data that holds each prompt's criteria; `a.b` is the field b of column a,
    as in reward_model.rubrics."""
    doubtful: Literal["drop", "keep", "flip"] = "drop"
    """Treatment of criteria of the data whose points and wording disagree, such as "Fails to warn"
    for 5 points: `drop` leaves them out, `keep` follows the points, `flip` the wording."""
    reference: str | None = None
    """The column of the data that holds a good answer, which the judge is shown beside the
    response; none is shown if left out."""
    scale: ScaleField = ()
    """Grades of each criterion, or of the rating, in place of met or not (or 1 to 10): numbers with
    a word each, as in {0: missing, 1: partly, 2: fully}, or numbers alone, as in [0, 1, 2]. The
    lowest becomes a score of 0, the highest of 1, the others what lies between."""
    grade: Literal["verdict", "probability"] = "verdict"
    """The grade that the judge writes, or the mean of all grades by its own log-probabilities,
    which has fewer ties and needs an endpoint that gives them. Grades are then told apart by their
    first character: give a scale of figures, such as [0, 1, 2], or none."""
    weights: Literal["uniform", "class", "points"] | None = None
    """Weights of a prompt's criteria against each other: equal, by class (essential 1, important
    .7, optional .3, pitfall .9), or their points. Left out: uniform for channels, class for
    explicit."""
    spare: SpareConfig | None = None
    """Save calls on criteria that every sample meets, or none, for many steps; with `channels`. All
    samples are asked about every criterion if left out."""

    @model_validator(mode="after")
    def _spares_channels(self) -> Self:
        if self.spare is not None and self.rubric != "channels":
            raise ValueError(
                f"spare: a score of rubric: {self.rubric} needs every criterion of its prompt; use "
                "rubric: channels, or leave spare out"
            )
        return self

    @model_validator(mode="after")
    def _grades_agree(self) -> Self:
        own = [name for name, criterion in self.criteria.items() if criterion.scale]
        if own and self.rubric == "implicit":
            raise ValueError(
                f"criteria.{own[0]}.scale: rubric: implicit is one rating by all criteria; give "
                "the reward a `scale`, or write rubric: channels or explicit"
            )
        if self.grade == "verdict":
            return self
        if self.rubric == "implicit" and not self.scale:
            raise ValueError(
                "grade: probability needs grades that differ in their first character, and a "
                "rating goes from 1 to 10; give a scale of figures, such as scale=[1, 2, 3, 4, 5]"
            )
        every = {"scale": self.scale}
        every |= {f"criteria.{name}.scale": c.scale for name, c in self.criteria.items()}
        for where, scale in every.items():
            if twice := alike(scale):
                raise ValueError(f"{where}: {twice}")
        return self

    @property
    def parts(self) -> str:
        """See `AnyRewardConfig`."""
        return "criterion" if self.rubric == "channels" else ""


PLACEHOLDERS: Final = ("response", "prompt", "conversation", "system")
"""Names that a classifier's template may have as placeholders."""


def _classifier(value: Any) -> Any:
    return {"serve": value} if isinstance(value, str) else value


def _label(value: Any) -> Any:
    if isinstance(value, bool):  # what YAML makes of a bare yes or no
        raise ValueError("must be the name of a label, in quotes, or its number")
    return value


Label = Annotated[Annotated[Int, Field(ge=0)] | str, BeforeValidator(_label)]


class ClassifierRewardConfig(AnyRewardConfig):
    """A reward given by a sequence classifier: a reward model, or one that finds what is unsafe."""

    classifier: Annotated[ClassifierConfig, BeforeValidator(_classifier)]
    """The classifier: a folder or Hub id, which a process of the run then serves, or a table with
    `serve` or `endpoints`. Rewards with the same table share one."""
    label: Label | None = None
    """Label whose score it is, by its name or its number from 0 on; none for a classifier with one
    score, as reward models have."""
    labels: dict[RewardName, Label] = Field(default_factory=dict)
    """Several labels, by names of your own: each is a channel, and they share the weight."""
    score: Literal["probability", "logit"] | None = None
    """The label's probability, as the classifier's own softmax or sigmoid gives it, or the logit
    before that, which any number can be. Left out: the probability of a label, and the logit
    where no label is named."""
    polarity: Polarity = "positive"
    """Value of a high score: good (positive), or bad (negative), which turns a probability p into
    1 - p and a logit x into -x."""
    template: str = "chat"
    """Text that the classifier reads: `chat` is the conversation in the chat template of its own
    tokenizer, `pair` the conversation and the response as a pair of texts, and anything else a text
    with `<<response>>`, and with `<<prompt>>` (the last turn), `<<conversation>>` or `<<system>>`
    where wanted."""
    sees: Sees = "answer"
    """Part of a completion that the classifier is shown: the answer, or everything, thoughts and
    their markers too."""

    @field_validator("template")
    @classmethod
    def _is_template(cls, value: str) -> str:
        problem = placeholder_problem(value, PLACEHOLDERS, "response")
        if value not in ("chat", "pair") and problem:
            guess = nearest(value, ["chat", "pair"])
            meant = f"did you mean '{guess}'?" if guess else "write chat, pair, or such a text"
            raise ValueError(f"{value[:60]!r} is no template, {problem}; {meant}")
        return value

    @model_validator(mode="after")
    def _one_choice(self) -> Self:
        if self.label is not None and self.labels:
            raise ValueError("label and labels are both given; name all of them in labels")
        return self

    @property
    def parts(self) -> str:
        """See `AnyRewardConfig`."""
        return "label" if self.labels else ""

    @property
    def is_logit(self) -> bool:
        """True where scores are logits."""
        chosen = self.label is not None or bool(self.labels)
        return self.score == "logit" or (self.score is None and not chosen)

    @property
    def asked(self) -> ClassifierJudge:
        """The classifier as those know it who ask judges."""
        pair = self.template == "pair" and bool(self.classifier.endpoints)
        return self.classifier.as_judge("score" if pair else "classify")


def classifier_of(name: str, rewards: Mapping[str, AnyRewardConfig]) -> str:
    """Name of the classifier that a reward asks: after the first reward that has the same."""
    asked = {n: r.asked for n, r in rewards.items() if isinstance(r, ClassifierRewardConfig)}
    first = next(other for other, judge in asked.items() if judge == asked[name])
    return f"{first}.classifier"


def classifiers(rewards: Mapping[str, AnyRewardConfig]) -> dict[str, ClassifierJudge]:
    """The classifiers that rewards ask, each once, by name."""
    asked = {n: r.asked for n, r in rewards.items() if isinstance(r, ClassifierRewardConfig)}
    return {classifier_of(name, rewards): judge for name, judge in asked.items()}


def served_apart(rewards: Mapping[str, AnyRewardConfig]) -> dict[str, JudgeConfig]:
    """The classifiers that have GPUs of their own here, by name."""
    every = classifiers(rewards).items()
    return {name: each for name, each in every if each.serve is not None and each.serve.devices}


def _question(value: str) -> str:
    if not value.strip():
        raise ValueError(
            "must be a question that one of two responses answers better, as in 'Which response is "
            "friendlier?', got a blank one"
        )
    return value


class ComparisonRewardConfig(JudgedRewardConfig):
    """The share of wins of a sample, which the judge compares with others of its prompt."""

    compare: Annotated[str, AfterValidator(_question)]
    """The question by which one of two responses is better, such as "Which response is
    friendlier?"."""
    pairs: Literal["all", "circle"] | PositiveInt = "all"
    """Other samples that each is compared with: all of its prompt's, its two neighbours in a
    circle, or so many neighbours. Every pair is two calls, one in each order."""


def _kind_of_reward(value: Any) -> str | None:
    if isinstance(value, Section):
        return type(value).__name__
    if not isinstance(value, dict):
        return None
    kinds = {
        "function": "FunctionRewardConfig",
        "rubric": "RubricRewardConfig",
        "compare": "ComparisonRewardConfig",
        "classifier": "ClassifierRewardConfig",
    }
    # A misspelt key names a kind where no key is one: `spare` is like `compare`, and is not it.
    meant = kinds.keys() & value or {n for key in value if (n := nearest(str(key), list(kinds)))}
    # Without either, the message about a missing function is the more helpful one.
    return kinds[meant.pop()] if len(meant) == 1 else kinds["function"] if not meant else None


RewardConfig = Annotated[
    Annotated[FunctionRewardConfig, Tag("FunctionRewardConfig")]
    | Annotated[RubricRewardConfig, Tag("RubricRewardConfig")]
    | Annotated[ComparisonRewardConfig, Tag("ComparisonRewardConfig")]
    | Annotated[ClassifierRewardConfig, Tag("ClassifierRewardConfig")],
    Discriminator(
        _kind_of_reward,
        custom_error_type="reward",
        custom_error_message="must be a table with `function` (a Python function), `rubric` (the "
        "judge, by criteria), `compare` (the judge, pair by pair) or `classifier` (a model's "
        "scores), and no two of them",
    ),
]
