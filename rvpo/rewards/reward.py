"""One reward: a scoring function with a name and a weight."""

from __future__ import annotations

import asyncio
import inspect
import math
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence, Set
from dataclasses import dataclass, field
from functools import cached_property, partial
from typing import Any, get_args

from rvpo.config.rewards import Condition
from rvpo.errors import ConfigError, RewardError, nearest
from rvpo.rewards.made import check_names, named, parameters_of, takes_any
from rvpo.rewards.number import number_of, words_of
from rvpo.runtime.deepcopy import own
from rvpo.runtime.own_code import line_of
from rvpo.runtime.redaction import Hidden
from rvpo.runtime.variable import filled, secrets_of
from rvpo.satisfied import Satisfied
from rvpo.schedule import Ramp
from rvpo.thinking import Sees
from rvpo.types import (
    EPISODE_ARGUMENTS,
    LENGTH_ARGUMENTS,
    RUN_ARGUMENTS,
    STANDARD_ARGUMENTS,
    Failed,
    Prompt,
    RewardScore,
)

_LARGEST = 1e18
"""Largest score: its square must stay finite where statistics are taken."""


@dataclass(frozen=True)
class Reward:
    """A named function with TRL's reward signature, sync or async.

        f(prompts, completions, completion_ids, **columns) -> list[float | None]

    It is called by keyword, once for a batch of completions, with a list of that length for
    every column of the data, and with `trainer_state`, `log_extra` and `log_metric`. One without
    `**columns` is given what it names. One that names `thought_tokens`, `answer_tokens` or
    `policy_tokens` is given the lengths of each completion's thoughts, of its answer, and of all
    that the policy wrote. Where a world answered the policy there are `environments` too, and
    `episodes` for one that names them.

    Args:
        name: the one in reports and metrics.
        function: returns one score for each completion: a number of Python, numpy or torch,
            None or NaN where the reward does not apply, or `Failed` where a score could not be
            determined.
        weight: 0 means logged but not trained on.
        arguments: further keyword arguments for the function; `{variable: NAME}` in them is what
            the environment holds, which every call is given and nothing keeps.
        condition: see `Condition`.
        satisfied: scores that are good enough; None for those of verdicts.
        shown: part of a completion that it is shown; left out, what the function's attribute `sees`
            says, and the answer where there is none.
        made_with: arguments of the factory or class that made the function.

    Raises:
        ConfigError: the function does not take what it will be called with, or a variable of its
            arguments is not in the environment.
    """

    name: str
    function: Callable[..., Any]
    weight: float | Ramp = 1.0
    arguments: Mapping[str, Any] = field(default_factory=dict)
    condition: Condition | None = None
    satisfied: Satisfied | None = None
    shown: Sees | None = None
    made_with: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.sees not in get_args(Sees):
            raise ConfigError(
                f"rewards.{self.name}.sees: {self.sees!r} stands in the function's attribute "
                "`sees`; write 'answer' or 'everything' there"
            )
        where = f"rewards.{self.name}"
        if any(p.kind is p.POSITIONAL_ONLY for p in self._parameters) or not (
            takes_any(self._parameters) or {*STANDARD_ARGUMENTS} & {*self._names}
        ):
            raise ConfigError(
                f"{where}.function: a reward function is called by keyword with "
                "prompts, completions, completion_ids and every column of the data; write its "
                "signature as f(prompts, completions, completion_ids, **columns)"
            )
        filled_in = (*STANDARD_ARGUMENTS, *RUN_ARGUMENTS)
        for argument in self.arguments:
            if argument in filled_in:
                raise ConfigError(
                    f"{where}.arguments.{argument}: is filled in for every batch; remove it"
                )
        check_names(self.arguments, [n for n in self._names if n not in filled_in], where)
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
    def bounds(self) -> tuple[float, float] | None:
        """The lowest and the highest score, as far as the function's attribute `bounds` tells: two
        numbers, or names of arguments."""
        told = getattr(self.function, "bounds", None)
        if not isinstance(told, tuple):
            return None
        known = {p.name: p.default for p in self._parameters} | dict(self.arguments)
        ends = [known.get(end) if isinstance(end, str) else end for end in told]
        numbers = [float(end) for end in ends if isinstance(end, int | float)]
        return (min(numbers), max(numbers)) if len(numbers) == 2 else None

    @property
    def asks(self) -> tuple[str, ...]:
        """Lengths, and episodes, that the function asks for by their names, and nothing else gives
        it."""
        known = (*LENGTH_ARGUMENTS, "episodes")
        return tuple(n for n in known if n in self._names and n not in self.arguments)

    @property
    def reads_worlds(self) -> bool:
        """True where the function names the worlds of episodes."""
        return "environments" in self._names

    @property
    def is_async(self) -> bool:
        """A coroutine function, or an object whose `__call__` is one, be it with arguments filled
        in by `partial`."""
        function = self.function
        while isinstance(function, partial):
            function = function.func
        return any(map(inspect.iscoroutinefunction, (function, type(function).__call__)))

    def check_columns(self, columns: Collection[str], in_world: bool = False) -> None:
        """Raise RewardError if the data's columns do not fit the function's arguments.

        Args:
            in_world: samples are episodes.
        """
        clashes = [a for a in self.arguments if a in columns]
        if clashes:
            raise RewardError(
                f"reward '{self.name}': argument '{clashes[0]}' is also a column of the data; "
                "rename one of them"
            )
        taken = next((name for name in RUN_ARGUMENTS if name in columns), None)
        if taken is not None:
            raise RewardError(
                f"reward '{self.name}': the data has a column '{taken}', a name that reward "
                "functions know as something else; rename the column"
            )
        given = {*STANDARD_ARGUMENTS, *RUN_ARGUMENTS, *LENGTH_ARGUMENTS, *columns, *self.arguments}
        given |= {*EPISODE_ARGUMENTS} if in_world else set()
        for name in named(p for p in self._parameters if p.default is p.empty):
            if name not in given and name in EPISODE_ARGUMENTS:
                raise RewardError(
                    f"reward '{self.name}' is about episodes (it needs '{name}'), and nothing "
                    "answers the policy; add a section 'environment', or take the reward out"
                )
            if name not in given:
                guess = nearest(name, list(columns))
                meant = f"; did you mean '{guess}'?" if guess else ""
                raise RewardError(
                    f"reward '{self.name}' needs a column '{name}', and the data has "
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
            returned = _listed(self.function(**self._taken(batch), **self._given()))
        # The one boundary to other people's scoring code, which can raise anything.
        except (Exception, SystemExit) as error:
            raise self._raised(error, ids) from error
        return self._checked(returned, ids)

    async def scores_async(self, batch: Mapping[str, Any], ids: Sequence[str]) -> list[RewardScore]:
        """`scores` for an async function."""
        try:
            returned = _listed(await self.function(**self._taken(batch), **self._given()))
        except asyncio.CancelledError as error:
            task = asyncio.current_task()
            if task is not None and task.cancelling():  # we end it, not the function itself
                raise
            raise self._raised(error, ids) from error
        except (Exception, SystemExit) as error:  # the same boundary
            raise self._raised(error, ids) from error
        return self._checked(returned, ids)

    @cached_property
    def _parameters(self) -> tuple[inspect.Parameter, ...]:
        return tuple(parameters_of(self.function, f"rewards.{self.name}.function"))

    @cached_property
    def _names(self) -> tuple[str, ...]:
        """Names of the parameters that it can be given."""
        return tuple(named(self._parameters))

    def _taken(self, batch: Mapping[str, Any]) -> Mapping[str, Any]:
        """The part of a batch that the function takes."""
        if takes_any(self._parameters):
            return batch
        return {name: value for name, value in batch.items() if name in self._names}

    def _given(self) -> dict[str, Any]:
        """The arguments as the function gets them, a copy of its own for each call."""
        given: dict[str, Any] = filled(own(self.arguments), f"rewards.{self.name}.arguments")
        return given

    def without_secrets(self, text: str) -> str:
        """A text without what the environment holds for the function."""
        return Hidden((*secrets_of(self.arguments), *secrets_of(self.made_with))).out_of(text)

    def _raised(self, error: BaseException, ids: Sequence[str]) -> RewardError:
        if isinstance(error, ConfigError):  # of a reward of ours, about its settings
            return RewardError(f"rewards.{self.name}: {self.without_secrets(words_of(error))}")
        at = line_of(error, self.function)
        said = self.without_secrets(words_of(error))
        return RewardError(
            f"reward '{self.name}' failed on a batch of {len(ids)} completions (first prompt "
            f"{ids[0]}): {type(error).__name__}: {said}" + (f" ({at})" if at else "")
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
            return Failed(self.without_secrets(value.reason))
        if value is None:
            return value
        try:
            score = number_of(value)
        except Exception as error:  # a value is code of others too, and raises anything
            raise RewardError(
                f"reward '{self.name}' scored a completion of prompt {prompt} with a value of type "
                f"{type(value).__name__} that is not to be read ({type(error).__name__}); a score "
                "is a number, None or Failed(reason)"
            ) from error
        if score is None:
            shown = self.without_secrets(words_of(value))
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


def _listed(returned: Any) -> Any:
    """Scores that come as an array, a tensor, a series or a generator as a list; the rest as is."""
    is_scores = isinstance(returned, Iterable) and getattr(returned, "ndim", 1) == 1
    if not is_scores or isinstance(returned, str | bytes | Mapping | Set):
        return returned
    return list(returned)
