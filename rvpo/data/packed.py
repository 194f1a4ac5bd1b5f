"""Prompts of a source, each in few bytes until somebody asks for it."""

from __future__ import annotations

import pickle
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import chain, islice
from typing import Any, Final, overload

from rvpo.types import Prompt

_BLOCK: Final = 16
"""Prompts that are packed together: the names of their columns are written once."""

_Fields = tuple[str, Any, Any, Any, str | None, bool, str]


class _Sliced(Sequence[Prompt]):
    """A sequence that equals a tuple of the same prompts, and whose slices are tuples."""

    @overload
    def __getitem__(self, index: int) -> Prompt: ...
    @overload
    def __getitem__(self, index: slice) -> tuple[Prompt, ...]: ...
    def __getitem__(self, index: int | slice) -> Prompt | tuple[Prompt, ...]:
        if isinstance(index, slice):
            places = range(len(self))[index]
            if places.step == 1 and len(places) == len(self):
                return tuple(self)
            return tuple(self._at(place) for place in places)
        return self._at(range(len(self))[index])

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Sequence) and tuple(self) == tuple(other)

    __hash__ = None  # type: ignore[assignment]  # as of whatever is compared by what it holds

    def _at(self, place: int) -> Prompt:
        raise NotImplementedError


@dataclass(frozen=True, eq=False, repr=False)
class Prompts(_Sliced):
    """Prompts that are made when they are asked for, equal ones each time.

    A row as Python's objects takes six times the bytes of its text, on every rank, and a run sees
    a few of a million.
    """

    blocks: tuple[bytes | list[_Fields], ...]
    size: int
    columns: tuple[str, ...]
    """Names of the columns that any of the prompts has: each has them all, None where it lacks
    one."""
    revision: str | None = None
    """Commit of the Hub dataset that they are from."""

    @staticmethod
    def of(prompts: Iterable[Prompt], packed: bool = True, revision: str | None = None) -> Prompts:
        """Take prompts in, one after the other.

        Args:
            packed: False keeps whatever they hold as it is, as that may be of any type.
            revision: see the class.
        """
        blocks: list[bytes | list[_Fields]] = []
        size, columns = 0, dict[str, None]()
        fields = (
            (p.id, p.messages, p.columns, p.tools, p.text, p.is_raw, p.prefill) for p in prompts
        )
        while block := list(islice(fields, _BLOCK)):
            size += len(block)
            columns |= dict.fromkeys(name for each in block for name in each[2])
            blocks.append(_packed(block) if packed else block)
        return Prompts(tuple(blocks), size, tuple(columns), revision)

    def __len__(self) -> int:
        return self.size

    def __iter__(self) -> Iterator[Prompt]:
        for block in self.blocks:
            yield from map(self._made, _unpacked(block))

    def _at(self, place: int) -> Prompt:
        block, row = divmod(place, _BLOCK)
        return self._made(_unpacked(self.blocks[block])[row])

    def _made(self, fields: _Fields) -> Prompt:
        name, messages, columns, tools, text, is_raw, prefill = fields
        return Prompt(
            id=name,
            messages=messages,
            columns={column: columns.get(column) for column in self.columns},
            tools=tools,
            text=text,
            is_raw=is_raw,
            prefill=prefill,
        )


@dataclass(frozen=True, eq=False, repr=False)
class Joined(_Sliced):
    """The prompts of several sequences, one after the other."""

    parts: tuple[Sequence[Prompt], ...]

    def __len__(self) -> int:
        return sum(map(len, self.parts))

    def __iter__(self) -> Iterator[Prompt]:
        return chain.from_iterable(self.parts)

    def _at(self, place: int) -> Prompt:
        for part in self.parts:
            if place < len(part):
                return part[place]
            place -= len(part)
        raise IndexError(place)


@dataclass(frozen=True, eq=False, repr=False)
class Picked(_Sliced):
    """Some prompts of a sequence, in an order of their own."""

    source: Sequence[Prompt]
    places: Sequence[int]

    def __len__(self) -> int:
        return len(self.places)

    def _at(self, place: int) -> Prompt:
        return self.source[self.places[place]]


def _packed(block: list[_Fields]) -> bytes | list[_Fields]:
    try:
        return pickle.dumps(block, pickle.HIGHEST_PROTOCOL)
    except RecursionError:  # JSON may be nested deeper than pickle goes
        return block


def _unpacked(block: bytes | list[_Fields]) -> list[_Fields]:
    return block if isinstance(block, list) else pickle.loads(block)
