"""A survey of the prompts of a source: what their rows hold, and what they ask twice."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from rvpo.rubrics.overlap import question
from rvpo.types import Prompt

_SHOWN: Final = 80
"""Characters of a value that are shown."""
_PAIRS: Final = 3
"""Pairs of prompts that are named of those that ask the same."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ColumnSurvey:
    """A column of the data, which reward functions receive."""

    name: str
    filled: int
    """Rows in which it holds something."""
    types: tuple[str, ...]
    """Kinds of its values, the most frequent first."""
    example: str
    """The first value, shortened; empty where there is none."""


@dataclass(frozen=True, slots=True)
class Pairs:
    """Prompts that ask what another one asks."""

    count: int
    named: tuple[tuple[str, str], ...]
    """Ids of the first of them, each with that of the other one."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Survey:
    """The prompts of a source."""

    prompts: int
    roles: Mapping[str, int]
    """Messages by role."""
    several_turns: int
    """Prompts with several turns of the user."""
    with_tools: int
    columns: tuple[ColumnSurvey, ...]
    repeated: Pairs
    """Prompts that ask what an earlier one of the source asks."""

    @classmethod
    def of(cls, prompts: Iterable[Prompt]) -> Survey:
        """Look at every prompt once."""
        count, roles, columns = 0, Counter[str](), dict[str, _Seen]()
        several = with_tools = 0
        asked = _Asked()
        for prompt in prompts:
            count += 1
            said = Counter(message["role"] for message in prompt.messages)
            roles += said
            several += said["user"] > 1
            with_tools += bool(prompt.tools)
            for name, value in prompt.columns.items():
                columns.setdefault(name, _Seen()).add(value)
            asked.add(prompt)
        return cls(
            prompts=count,
            roles=dict(roles.most_common()),
            several_turns=several,
            with_tools=with_tools,
            columns=tuple(seen.column(name) for name, seen in columns.items()),
            repeated=Pairs(asked.repeats, tuple(asked.pairs)),
        )


def in_both(train: Iterable[Prompt], held_out: Sequence[Prompt]) -> Pairs:
    """Held-out prompts that ask what a prompt of training asks, each with one of these."""
    asked = {_digest(prompt): prompt.id for prompt in held_out}
    found: dict[str, str] = {}
    for prompt in train:
        if (other := asked.get(_digest(prompt))) is not None:
            found.setdefault(other, prompt.id)
    return Pairs(len(found), tuple(list(found.items())[:_PAIRS]))


def shortened(value: Any) -> str:
    """A value on one line, of at most so many characters as are shown."""
    text = " ".join((value if isinstance(value, str) else repr(value)).split())
    return text if len(text) <= _SHOWN else f"{text[: _SHOWN - 3]}..."


class _Asked:
    """Questions met so far; of each its digest alone, for there may be millions."""

    def __init__(self) -> None:
        self._first: dict[bytes, str] = {}
        self.repeats = 0
        self.pairs: list[tuple[str, str]] = []

    def add(self, prompt: Prompt) -> None:
        first = self._first.setdefault(_digest(prompt), prompt.id)
        if first == prompt.id:
            return
        self.repeats += 1
        if len(self.pairs) < _PAIRS:
            self.pairs.append((prompt.id, first))


class _Seen:
    """Values of a column."""

    def __init__(self) -> None:
        self._types: Counter[str] = Counter()
        self._example: Any = None

    def add(self, value: Any) -> None:
        if value is None:
            return
        if not self._types:
            self._example = value
        self._types[_kind(value)] += 1

    def column(self, name: str) -> ColumnSurvey:
        return ColumnSurvey(
            name=name,
            filled=self._types.total(),
            types=tuple(kind for kind, _ in self._types.most_common()),
            example=shortened(self._example) if self._types else "",
        )


def _kind(value: Any) -> str:
    """The kind of a value, in words."""
    if isinstance(value, bool):
        return "true or false"
    if isinstance(value, int | float):
        return "number"
    kinds = ((str, "text"), (Mapping, "table"), (Sequence, "list"))
    return next((word for kind, word in kinds if isinstance(value, kind)), type(value).__name__)


def _digest(prompt: Prompt) -> bytes:
    text = question(prompt.messages)
    return hashlib.blake2b(text.encode("utf-8", "surrogatepass"), digest_size=16).digest()
