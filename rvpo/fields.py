"""Fields of settings: frozen tables, and numbers that refuse yes and no.

Light on purpose: a judge worker reads its settings without importing torch.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, Any, Final, Literal, Self

from pydantic import (
    AfterValidator,
    AliasChoices,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    GetJsonSchemaHandler,
    PlainSerializer,
    ValidationError,
    ValidatorFunctionWrapHandler,
    WrapValidator,
    model_validator,
)
from pydantic_core import CoreSchema

from rvpo.docstrings import docstrings
from rvpo.errors import nearest
from rvpo.runtime.terminal import printable
from rvpo.sampling import Sampling
from rvpo.satisfied import Satisfied

WEIGHT_BYTES: Final[Mapping[str, int]] = {"bf16": 2, "fp32": 4}
"""Bytes of a weight by its number format, a `precision`."""
_SHOWN: Final = 12
_LONGEST_NAME: Final = 255
_LONGEST_PATH: Final = 3800
"""Bytes. Linux takes 4,096, and a run's own files go below its folder."""


def _no_bool(value: Any) -> Any:
    # Python counts True as 1, so `steps: yes` would otherwise be a run of one step.
    if isinstance(value, bool):
        raise ValueError(f"must be a number, got {str(value).lower()}")
    return value


def _import_path(value: str) -> str:
    if not re.fullmatch(r"[^\s:]+:[^\s:]+", value):
        raise ValueError(f"must be module:function, as in my_rewards:brevity, got {value!r}")
    return value


def _possible_text(value: str) -> str:
    if printable(value) != value:
        raise ValueError(
            f"{value[:60]!a} is no path: it holds control characters, or half of one; name another"
        )
    return value


def _possible_path(value: Path) -> Path:
    text = _possible_text(str(value))
    longest = max(len(part.encode()) for part in text.split("/"))
    if longest > _LONGEST_NAME or len(text.encode()) > _LONGEST_PATH:
        raise ValueError(
            f"'{text[:60]}...' is too long for a path: a name has at most {_LONGEST_NAME} bytes, "
            f"a path {_LONGEST_PATH:,}"
        )
    return value


def _siblings(value: int) -> int:
    if value < 2:
        raise ValueError(
            f"must be at least 2, got {value}: an advantage compares a sample with the others of "
            "its group, and a group of one has nothing to compare with"
        )
    return value


def _none_or_some(value: float) -> float:
    if 0 < value < SMALLEST_TEMPERATURE:
        raise ValueError(f"must be 0, or at least {SMALLEST_TEMPERATURE}, got {value}")
    return value


def _count_or_all(value: Any, read: ValidatorFunctionWrapHandler) -> Any:
    try:
        return read(value)
    except ValidationError:  # one for each member of the union
        got = "nothing" if value is None else f"{value!r:.60}"
        raise ValueError(f"must be a whole number of at least 1, or all, got {got}") from None


def _good_enough(value: Any) -> Any:
    """A number alone is the score that is good enough; 0, and what is below, counts for nothing."""
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    return {"good": value} if is_number else value


Int = Annotated[int, BeforeValidator(_no_bool), Field(ge=-(2**63), lt=2**63)]
"""Integer of 64 bits: counts have to fit arrays and floats."""
Float = Annotated[float, BeforeValidator(_no_bool), Field(allow_inf_nan=False)]
GoodEnough = Annotated[Satisfied, BeforeValidator(_good_enough)]
PositiveInt = Annotated[Int, Field(gt=0)]
CountOrAll = Annotated[PositiveInt | Literal["all"], WrapValidator(_count_or_all)]
NonNegativeInt = Annotated[Int, Field(ge=0)]
PositiveFloat = Annotated[Float, Field(gt=0)]
NonNegativeFloat = Annotated[Float, Field(ge=0)]
SMALLEST_TEMPERATURE: Final = 1e-4
"""Lowest temperature of sampling: logits divided by less overflow."""
Temperature = Annotated[Float, Field(ge=SMALLEST_TEMPERATURE)]
TemperatureOrZero = Annotated[NonNegativeFloat, AfterValidator(_none_or_some)]
"""Temperature of sampling; 0 takes the likeliest token each time."""
Fraction = Annotated[Float, Field(ge=0, le=1)]
Decay = Annotated[Float, Field(ge=0, lt=1)]
"""Decay of a moving average."""
GroupSize = Annotated[Int, AfterValidator(_siblings)]
PathText = Annotated[str, AfterValidator(_possible_text)]
"""A file, a folder or an id to read; whether there is one, who reads it says."""
InputFile = Annotated[Path, PlainSerializer(str)]
"""A file to read."""
FilePath = Annotated[Path, AfterValidator(_possible_path)]
"""A file or folder to write."""
ImportPath = Annotated[str, AfterValidator(_import_path)]


def by_name(value: Any) -> Any:
    """A section of several kinds, from its name alone."""
    return {"name": value} if isinstance(value, str) else value


def _number_or_several(value: Any) -> Any:
    return value if isinstance(value, list | tuple) else [value]


AnswerCounts = Annotated[
    tuple[PositiveInt, ...],
    BeforeValidator(_number_or_several),
    AfterValidator(lambda given: tuple(sorted(set(given)))),
]
"""Numbers of answers, in order; one may be given alone."""

CellType = Literal["int", "float", "json"]
"""Types that the text of a cell can be read as."""


class Section(BaseModel):
    """A frozen part of the tree."""

    # YAML's bytes need not be text, and trackers are told of settings as JSON.
    model_config = ConfigDict(
        extra="forbid", frozen=True, defer_build=True, ser_json_bytes="base64"
    )

    @classmethod
    def __get_pydantic_json_schema__(
        cls, core: CoreSchema, handler: GetJsonSchemaHandler
    ) -> dict[str, Any]:
        # Only here: pydantic's `use_attribute_docstrings` reads each class's source at each start.
        schema = handler(core)
        properties = handler.resolve_ref_schema(schema)["properties"]
        for name, text in docstrings(cls).items():
            properties[name]["description"] = text
        return schema


def _all_by_zero(value: Any) -> Any:
    return 0 if value == -1 else value  # which vLLM and others write for it


def _texts(value: Any) -> Any:
    return [value] if isinstance(value, str) else value


Penalty = Annotated[Float, Field(ge=-2, le=2)]
"""Taken from logits; below 0 it makes tokens likelier. The bounds are those of OpenAI's API."""
Texts = Annotated[
    tuple[Annotated[str, Field(min_length=1)], ...],
    BeforeValidator(_texts),
    Field(min_length=1),
]
"""Texts, none of them empty; one may be given alone."""


class StructuredSection(Section):
    """Form that every completion must have: one of `regex`, `json_schema` and `choice`."""

    regex: Annotated[str, Field(min_length=1)] | None = None
    """Regular expression of the whole completion."""
    json_schema: Annotated[
        dict[str, Any] | None, Field(validation_alias=AliasChoices("json_schema", "json"))
    ] = None
    """JSON schema that it is an instance of."""
    choice: Texts | None = None
    """Texts of which it is one."""

    @model_validator(mode="after")
    def _one_way(self) -> Self:
        given = [name for name in type(self).model_fields if getattr(self, name) is not None]
        if len(given) != 1:
            got = " and ".join(given) or "none"
            raise ValueError(f"give one of regex, json_schema and choice, got {got}")
        if self.regex is not None:
            try:
                re.compile(self.regex)
            except re.error as error:
                raise ValueError(f"regex: {self.regex!r:.60} is no pattern: {error}") from None
        return self


class SamplingSection(Section):
    """Settings of sampling beside temperature and length, by vLLM's names."""

    top_p: Annotated[Float, Field(gt=0, le=1)] | None = None
    """Probability that the likeliest tokens have together, of which one is drawn; 1 draws of
    all."""
    top_k: Annotated[NonNegativeInt, BeforeValidator(_all_by_zero)] | None = None
    """Number of the likeliest tokens, of which one is drawn; 0 draws of all."""
    min_p: Annotated[Float, Field(ge=0, lt=1)] | None = None
    """Least probability of a token that can be drawn, as a part of that of the likeliest one."""
    repetition_penalty: Annotated[PositiveFloat, Field(le=2)] | None = None
    """Divisor of the positive logits of tokens that were there, and factor of the negative ones;
    above 1 it makes repetition unlikelier."""
    presence_penalty: Penalty | None = None
    """Taken from the logit of each token that the completion has so far."""
    frequency_penalty: Penalty | None = None
    """Taken from the logit of a token for each time that the completion has it so far."""
    stop: Texts | None = None
    """Texts that end a completion, of which they are the end; one, or a list."""
    structured: StructuredSection | None = None
    """Form that every completion must have."""

    def sampling_over(self, usual: Sampling) -> Sampling:
        """The usual sampling, but for what is set here."""
        names = SamplingSection.model_fields
        given = {name: value for name in names if (value := getattr(self, name)) is not None}
        if self.structured is not None:
            given["structured"] = self.structured.model_dump(exclude_none=True)
        return replace(usual, **given)


@dataclass(frozen=True, slots=True)
class OptionKind:
    """Values that an option of another library may have."""

    words: str
    """The values, in words that follow "must be"."""
    accepts: Callable[[Any], bool]


FLAG: Final = OptionKind("true or false", lambda value: isinstance(value, bool))
COUNT: Final = OptionKind("a whole number above 0", lambda value: type(value) is int and value > 0)
WHOLE: Final = OptionKind("a whole number from 0 on", lambda v: type(v) is int and v >= 0)
NUMBER: Final = OptionKind(
    "a number from 0 on", lambda value: type(value) in (int, float) and 0 <= value < float("inf")
)
SIZE: Final = OptionKind(  # which YAML lets be written as 5.0e+8
    "a whole number above 0",
    lambda value: NUMBER.accepts(value) and value > 0 and value % 1 == 0,
)
TEXT: Final = OptionKind("text", lambda value: isinstance(value, str) and value != "")
TABLE: Final = OptionKind("a table", lambda value: isinstance(value, dict))
LIST: Final = OptionKind("a list", lambda value: isinstance(value, list))
SIZES: Final = OptionKind(
    "a list of whole numbers above 0",
    lambda value: isinstance(value, list) and all(map(COUNT.accepts, value)),
)


@dataclass(frozen=True, slots=True)
class PassedOn:
    """Options of another library that go to it as they are given. A table among them holds options
    again, named with a dot: `outer.inner`.

    Args:
        library: its name in sentences.
        allowed: each option that may be given, by name.
        refused: reason why another one may not, by name; it follows a colon.
    """

    library: str
    allowed: Mapping[str, OptionKind]
    refused: Mapping[str, str]

    def checked(self, given: dict[str, Any]) -> dict[str, Any]:
        """The options as they are.

        Raises:
            ValueError: one is unknown, refused, or of another kind; a line for each.
        """
        if problems := list(self._problems(given, "")):
            raise ValueError("\n".join(problems))
        return given

    def _problems(self, given: Mapping[str, Any], outer: str) -> Iterator[str]:
        for key, value in given.items():
            name = f"{outer}{key}"
            kind = self.allowed.get(name)
            if name in self.refused:
                yield f"{name} cannot be given here: {self.refused[name]}"
            elif kind is None:
                yield self._unknown(name)
            elif not kind.accepts(value) and (value is not None or self._holds_others(name)):
                yield f"{name} must be {kind.words}, got {value!r:.60}"
            elif self._holds_others(name):
                yield from self._problems(value, f"{name}.")

    def _holds_others(self, name: str) -> bool:
        return any(other.startswith(f"{name}.") for other in self.allowed)

    def _unknown(self, name: str) -> str:
        close = nearest(name, [*self.allowed, *self.refused])
        some = ", ".join(list(self.allowed)[:_SHOWN])
        meant = f"did you mean {close}?" if close else f"there are {some} and others of its names"
        return f"{name} is no option of {self.library} that rvpo knows; {meant}"


def by_reason(groups: Mapping[str, str]) -> dict[str, str]:
    """The reason for each name, from reasons and the names that each is for, between blanks."""
    return {name: reason for reason, names in groups.items() for name in names.split()}


def by_kind(groups: tuple[tuple[OptionKind, str], ...]) -> dict[str, OptionKind]:
    """The kind of each name, from kinds and the names of each, between blanks."""
    return {name: kind for kind, names in groups for name in names.split()}
