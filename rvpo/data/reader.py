"""Rows of a source to prompts."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from rvpo.data.messages import check_turn, read_messages, read_tools, shown, with_system
from rvpo.errors import DataError, nearest
from rvpo.types import STANDARD_ARGUMENTS, Prompt


@dataclass(frozen=True)
class Reader:
    """Rows of a source to prompts."""

    column: str
    """Name of the one that holds the prompt."""
    system_prompt: str | None
    setting: str
    source: str
    """The setting and the path of its rows, for messages."""

    def __call__(self, rows: Iterable[Any]) -> Iterator[Prompt]:
        seen: set[str] = set()
        for index, row in enumerate(rows):
            prompt = self._prompt(index, row)
            if prompt.id in seen:
                raise DataError(
                    f"{self.source}: two rows have the id '{prompt.id}'; make ids unique"
                )
            seen.add(prompt.id)
            yield prompt

    def _prompt(self, index: int, row: Any) -> Prompt:
        where = f"{self.source}: row {index}"
        self._check(row, where)
        place = f"{where}, '{self.column}'"
        messages = read_messages(row[self.column], place)
        check_turn(messages, place)
        return Prompt(
            id=_id(row.get("id", index), where),
            messages=with_system(messages, self.system_prompt),
            columns={name: value for name, value in row.items() if name != self.column},
            tools=read_tools(row.get("tools"), f"{where}, 'tools'"),
        )

    def _check(self, row: Any, where: str) -> None:
        if not isinstance(row, Mapping):
            raise DataError(f"{where} is a {type(row).__name__}; rows must be dicts")
        if self.column not in row:
            guess = nearest(self.column, [str(name) for name in row])
            meant = f"; did you mean '{guess}'?" if guess else ""
            at = where.removeprefix(self.setting)
            raise DataError(
                f"{self.setting}.prompt_column{at} has no column '{self.column}', it has "
                f"{', '.join(map(str, row)) or 'none'}{meant}"
            )
        for name in STANDARD_ARGUMENTS:
            if name in row and name != self.column:
                raise DataError(
                    f"{where}, column '{name}' has a name that reward functions know as something "
                    "else; rename the column"
                )


def _id(value: Any, where: str) -> str:
    if isinstance(value, bool) or not isinstance(value, str | int):
        raise DataError(f"{where}: the id is {shown(value)}; give text or a whole number")
    return str(value)
