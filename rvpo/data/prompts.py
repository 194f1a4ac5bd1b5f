"""Rows of data to prompts."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from rvpo.config.data import DatasetSource, FunctionSource, Source
from rvpo.data.messages import check_turn, read_messages, read_tools, shown, with_system
from rvpo.data.packed import Prompts
from rvpo.data.rows import function_rows
from rvpo.errors import DataError, nearest
from rvpo.files.stored import each_row
from rvpo.rubrics import RubricSource
from rvpo.types import STANDARD_ARGUMENTS, Prompt


def load_prompts(
    source: Source,
    system_prompt: str | None,
    where: str,
    say: Callable[[str], None] | None = None,
) -> Prompts:
    """Every prompt of a source, in its order.

    A row's prompt column is a string, which becomes one user message, or a list of chat
    messages. All other columns become `Prompt.columns`, None where a row lacks one. A column
    `tools` holds the functions that the chat template shows the model. A column `id` gives the
    prompt its id; without one the id is the row's number, from 0.

    Args:
        source: origin of the rows.
        system_prompt: put before every prompt that has no system message.
        where: the setting that holds the source, for messages.
        say: told what rubrics hold and what was left out of them.

    Raises:
        DataError: the source cannot be read, is empty, or has a row that is no prompt.
        ConfigError: the source is a function that does not import.
    """
    column = "prompt"
    rows: Iterable[Any]
    match source:
        case FunctionSource():
            rows, column = function_rows(source, where), source.prompt_column
        case DatasetSource():
            rows = each_row(source.path, source.split, f"{where}.path", source.types, source.subset)
            column = source.prompt_column
        case RubricSource():
            rows, report = source.rows(where)
            if say is not None:
                say(f"{where}: {report}")
    read = _Reader(column, system_prompt, where, f"{where}{named(source)}")
    prompts = Prompts.of(read(rows), packed=isinstance(source, DatasetSource))
    if not prompts:
        raise DataError(f"{where}: there are no rows; give at least one")
    return prompts


def named(source: Source) -> str:
    """Path of its rows in brackets, to be put behind the setting in a message; empty for a
    function."""
    match source:
        case FunctionSource():
            return ""
        case DatasetSource():
            return f" ('{source.path}')"
        case RubricSource():
            return f" ('{source.rubrics}')"


@dataclass(frozen=True)
class _Reader:
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
