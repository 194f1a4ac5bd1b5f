"""The settings of rewards."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from typing import Annotated, Any, ClassVar, Literal, Self

from pydantic import (
    AfterValidator,
    BeforeValidator,
    Discriminator,
    Field,
    PlainSerializer,
    Tag,
    WithJsonSchema,
    model_validator,
)

from rvpo.criterion import CriterionClass, Polarity
from rvpo.errors import nearest
from rvpo.fields import ImportPath, NonNegativeFloat, PositiveFloat, Section
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

    @property
    def largest_weight(self) -> float:
        """Largest weight during the whole training."""
        return max(value_at(self.weight, progress) for progress in (0.0, 1.0))


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


class RubricRewardConfig(AnyRewardConfig):
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
    """The column of the data that holds each prompt's criteria."""
    judge: str | None = None
    """Name of the judge that is asked, where there are several; the one of the section `judge` if
    left out."""
    sees: Sees = "answer"
    """Part of a completion that the judge is shown: the answer, or everything, thoughts and their
    markers too."""
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


def _kind_of_reward(value: Any) -> str | None:
    if isinstance(value, Section):
        return type(value).__name__
    kinds = {"function": "FunctionRewardConfig", "rubric": "RubricRewardConfig"}
    keys = value if isinstance(value, dict) else {}
    meant = {name for key in keys if (name := nearest(str(key), list(kinds)))}
    # Without either, the message about a missing function is the more helpful one.
    return kinds[meant.pop()] if len(meant) == 1 else kinds["function"] if not meant else None


RewardConfig = Annotated[
    Annotated[FunctionRewardConfig, Tag("FunctionRewardConfig")]
    | Annotated[RubricRewardConfig, Tag("RubricRewardConfig")],
    Discriminator(
        _kind_of_reward,
        custom_error_type="reward",
        custom_error_message="must be a table with `function` (a Python function) or `rubric` "
        "(the judge), and not both",
    ),
]
