"""One reward: a scoring function with a name and a weight."""

from __future__ import annotations

import asyncio
import inspect
import math
import traceback
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence, Set
from dataclasses import dataclass, field
from decimal import Decimal
from numbers import Real
from pathlib import Path
from typing import Any, get_args

from rvpo.config.redaction import Hidden
from rvpo.config.rewards import Condition
from rvpo.config.variable import filled, secrets_of
from rvpo.errors import ConfigError, RewardError, nearest
from rvpo.runtime.deepcopy import own
from rvpo.schedule import Ramp
from rvpo.thinking import Sees
from rvpo.types import LENGTH_ARGUMENTS, STANDARD_ARGUMENTS, Failed, Prompt, RewardScore

_TIMES = ("m", "M")
"""Kinds of numpy's numbers that are spans and points of time."""
_LARGEST = 1e18
"""Largest score: its square must stay finite where statistics are taken."""


@dataclass(frozen=True)
class Reward:
    """A named function with TRL's reward signature, sync or async.

        f(prompts, completions, completion_ids, **columns) -> list[float | None]

    It is called by keyword, once for a batch of completions, with a list of that length for
    every column of the data. One that names `thought_tokens` or `answer_tokens` is given the
    lengths of each completion's thoughts and of its answer.

    Args:
        name: the one in reports and metrics.
        function: returns one score for each completion: a number of Python, numpy or torch,
            None or NaN where the reward does not apply, or `Failed` where a score could not be
            determined.
        weight: 0 means logged but not trained on.
        arguments: further keyword arguments for the function; `{variable: NAME}` in them is what
            the environment holds, which every call is given and nothing keeps.
        condition: see `Condition`.
        shown: part of a completion that it is shown; left out, what the function's attribute `sees`
            says, and the answer where there is none.

    Raises:
        ConfigError: the function does not take what it will be called with, or a variable of its
            arguments is not in the environment.
    """

    name: str
    function: Callable[..., Any]
    weight: float | Ramp = 1.0
    arguments: Mapping[str, Any] = field(default_factory=dict)
    condition: Condition | None = None
    shown: Sees | None = None

    def __post_init__(self) -> None:
        if self.sees not in get_args(Sees):
            raise ConfigError(
                f"rewards.{self.name}.sees: {self.sees!r} stands in the function's attribute "
                "`sees`; write 'answer' or 'everything' there"
            )
        parameters = inspect.signature(self.function).parameters.values()
        positional = [p.name for p in parameters if p.kind is p.POSITIONAL_ONLY]
        if positional or not any(p.kind is p.VAR_KEYWORD for p in parameters):
            raise ConfigError(
                f"rewards.{self.name}.function: a reward function is called by keyword with "
                "prompts, completions, completion_ids and every column of the data; write its "
                "signature as f(prompts, completions, completion_ids, **columns)"
            )
        names = [p.name for p in _named(parameters) if p.name not in STANDARD_ARGUMENTS]
        for argument in self.arguments:
            where = f"rewards.{self.name}.arguments.{argument}"
            if argument in STANDARD_ARGUMENTS:
                raise ConfigError(f"{where}: is filled in for every batch; remove it")
            if argument not in names:
                guess = nearest(argument, names)
                meant = f"did you mean '{guess}'?" if guess else f"it takes {names or 'none'}"
                raise ConfigError(f"{where}: the function has no such argument; {meant}")
        self._given()

    @property
    def columns(self) -> tuple[str, ...]:
        """Names of its columns in the matrix: its own."""
        return (self.name,)

    @property
    def aspects(self) -> tuple[str, ...]:
        """Names that reports show of it: its own."""
        return (self.name,)

    @property
    def sees(self) -> Sees:
        """Part of a completion that it is shown."""
        return self._told or "answer"

    def sees_of(self, prompt: Prompt) -> Sees:
        """Part of a prompt's completions that it is shown: where the model sees a prompt as it
        stands, everything, as by TRL, unless the settings or the function say otherwise."""
        return self._told or ("everything" if prompt.is_raw else "answer")

    @property
    def _told(self) -> Sees | None:
        told: Sees | None = self.shown or getattr(self.function, "sees", None)
        return told

    @property
    def lengths(self) -> tuple[str, ...]:
        """Lengths that the function asks for by their names, and nothing else gives it."""
        named = {p.name for p in _named(inspect.signature(self.function).parameters.values())}
        return tuple(n for n in LENGTH_ARGUMENTS if n in named and n not in self.arguments)

    @property
    def is_async(self) -> bool:
        """A coroutine function, or an object whose `__call__` is one."""
        return any(map(inspect.iscoroutinefunction, (self.function, type(self.function).__call__)))

    def check_columns(self, columns: Collection[str]) -> None:
        """Raise RewardError if the data's columns do not fit the function's arguments."""
        clashes = [a for a in self.arguments if a in columns]
        if clashes:
            raise RewardError(
                f"reward '{self.name}': argument '{clashes[0]}' is also a column of the data; "
                "rename one of them"
            )
        given = {*STANDARD_ARGUMENTS, *LENGTH_ARGUMENTS, *columns, *self.arguments}
        for parameter in _named(inspect.signature(self.function).parameters.values()):
            if parameter.default is parameter.empty and parameter.name not in given:
                guess = nearest(parameter.name, list(columns))
                meant = f"; did you mean '{guess}'?" if guess else ""
                raise RewardError(
                    f"reward '{self.name}' needs a column '{parameter.name}', and the data has "
                    f"{', '.join(columns) or 'none'}{meant}"
                )

    def scores(self, batch: Mapping[str, Any], ids: Sequence[str]) -> list[RewardScore]:
        """Score a batch with a sync function.

        Args:
            batch: the keyword arguments of the call.
            ids: [N] the prompt of each completion, for messages.

        Raises:
            RewardError: the function raised, or returned something else than a score for each
                completion.
        """
        try:
            returned = _listed(self.function(**batch, **self._given()))
        # The one boundary to other people's scoring code, which can raise anything.
        except (Exception, SystemExit) as error:
            raise self._raised(error, ids) from error
        return self._checked(returned, ids)

    async def scores_async(self, batch: Mapping[str, Any], ids: Sequence[str]) -> list[RewardScore]:
        """`scores` for an async function."""
        try:
            returned = _listed(await self.function(**batch, **self._given()))
        except asyncio.CancelledError as error:
            task = asyncio.current_task()
            if task is not None and task.cancelling():  # we end it, not the function itself
                raise
            raise self._raised(error, ids) from error
        except (Exception, SystemExit) as error:  # the same boundary
            raise self._raised(error, ids) from error
        return self._checked(returned, ids)

    def _given(self) -> dict[str, Any]:
        """The arguments as the function gets them, a copy of its own for each call."""
        given: dict[str, Any] = filled(own(self.arguments), f"rewards.{self.name}.arguments")
        return given

    def _without_secrets(self, text: str) -> str:
        return Hidden(secrets_of(self.arguments)).out_of(text)

    def _raised(self, error: BaseException, ids: Sequence[str]) -> RewardError:
        at = traceback.extract_tb(error.__traceback__)[-1]
        said = self._without_secrets(_text_of(error))
        return RewardError(
            f"reward '{self.name}' failed on a batch of {len(ids)} completions (first prompt "
            f"{ids[0]}): {type(error).__name__}: {said} ({Path(at.filename).name}:{at.lineno})"
        )

    def _checked(self, returned: Any, ids: Sequence[str]) -> list[RewardScore]:
        if inspect.iscoroutine(returned):
            returned.close()
            raise RewardError(
                f"reward '{self.name}' returned a coroutine; write async def where it is defined, "
                "also in a decorator around it"
            )
        if not isinstance(returned, list):
            raise RewardError(
                f"reward '{self.name}' returned a value of type {type(returned).__name__} for "
                f"{len(ids)} completions (first prompt {ids[0]}); return a list of scores"
            )
        if len(returned) != len(ids):
            raise RewardError(
                f"reward '{self.name}' returned {len(returned)} scores for {len(ids)} completions "
                f"(first prompt {ids[0]}); return one for each, None where it does not apply"
            )
        return [self._score(value, prompt) for value, prompt in zip(returned, ids, strict=True)]

    def _score(self, value: Any, prompt: str) -> RewardScore:
        if isinstance(value, Failed):
            return Failed(self._without_secrets(value.reason))
        if value is None:
            return value
        try:
            score = _number(value)
        except Exception as error:  # a value is code of others too, and raises anything
            raise RewardError(
                f"reward '{self.name}' scored a completion of prompt {prompt} with a value of type "
                f"{type(value).__name__} that is not to be read ({type(error).__name__}); a score "
                "is a number, None or Failed(reason)"
            ) from error
        if score is None:
            shown = self._without_secrets(_text_of(value))
            raise RewardError(
                f"reward '{self.name}' scored a completion of prompt {prompt} with {shown} of "
                f"type {type(value).__name__}; a score is a number, None or Failed(reason)"
            )
        if math.isnan(score):
            return None
        if abs(score) > _LARGEST:
            raise RewardError(
                f"reward '{self.name}' scored a completion of prompt {prompt} with "
                f"{'a number beyond every float' if math.isinf(score) else score}; scores lie "
                f"between -{_LARGEST:g} and {_LARGEST:g}: return None where it does not apply, "
                "Failed(reason) where it is unknown"
            )
        return score


def _number(value: Any) -> float | None:
    """A score as a float: NaN where it is one or is masked, infinite beyond every float.

    None where it is no number.
    """
    if getattr(value, "ndim", None) == 0:
        if bool(getattr(value, "mask", False)):
            return math.nan
        if getattr(getattr(value, "dtype", None), "kind", "") in _TIMES:
            return None
        value = value.item()
    if isinstance(value, Decimal) and value.is_nan():  # which may signal
        return math.nan
    if not isinstance(value, Real | Decimal):
        return None
    try:
        return float(value)
    except OverflowError:
        return math.inf


def _text_of(value: object) -> str:
    """A value's own words, if it has any."""
    try:
        return str(value) if isinstance(value, BaseException) else repr(value)
    except Exception:  # code of others, which is only asked for words
        return f"a {type(value).__name__} that cannot be shown"


def _listed(returned: Any) -> Any:
    """Scores that come as an array, a tensor, a series or a generator as a list; the rest as is."""
    is_scores = isinstance(returned, Iterable) and getattr(returned, "ndim", 1) == 1
    if not is_scores or isinstance(returned, str | bytes | Mapping | Set):
        return returned
    return list(returned)


def _named(parameters: Iterable[inspect.Parameter]) -> list[inspect.Parameter]:
    return [p for p in parameters if p.kind in (p.POSITIONAL_OR_KEYWORD, p.KEYWORD_ONLY)]
