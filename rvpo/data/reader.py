"""Rows of a source to prompts."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from rvpo.config.prompts import PromptColumns
from rvpo.data.identities import Identities
from rvpo.data.messages import (
    Conversation,
    check_turn,
    has_system,
    read_conversation,
    with_system,
    without_answer,
)
from rvpo.data.tools import read_tools
from rvpo.data.written import shown
from rvpo.errors import DataError, nearest
from rvpo.types import STANDARD_ARGUMENTS, Message, Prompt

_UNREAD: Final = {
    "system": "system_column=system",
    "input": "prompt_column=[{prompt}, input]",
    "functions": "tools_column=functions",
}
"""Columns that by their names are part of the prompt, and the settings that make them so."""
_USUAL: Final = (
    *("messages", "conversations", "conversation", "question", "query", "instruction", "problem"),
    *("input", "responses_create_params", "context_messages"),
)
"""Names that data sets give to their prompts."""


@dataclass(frozen=True)
class Reader:
    """Rows of a source to prompts."""

    columns: PromptColumns
    system_prompt: str | None
    setting: str
    source: str
    """The setting and the path of its rows, for messages."""
    prefill: str = ""
    """Text that begins every answer."""
    environment_tools: tuple[Mapping[str, Any], ...] = ()
    """Tools that every prompt shows the policy, before its own."""
    ids: Identities = field(default_factory=Identities)
    counts: Counter[str] = field(default_factory=Counter)
    """Rows read so far, those whose prompt is text, and those with something in each column."""

    def __call__(self, rows: Iterable[tuple[int | str, Any]]) -> Iterator[Prompt]:
        for number, row in rows:
            yield self.prompt(number, row)
        self.check_named()

    def notes(self) -> Iterator[str]:
        """Sentences on what was read, which belong to the start of a run."""
        if told := self.ids.report():
            yield told
        texts, rows = self.counts["text"], self.counts["rows"]
        if texts:
            all_of = "prompts are text" if texts == rows else f"{texts:,} of {rows:,} are text"
            is_raw = self.columns.text_prompts == "raw"
            seen = "it stands" if is_raw else "a user's turn of its chat template"
            thoughts = "with their thoughts" if is_raw else "without thoughts unless they ask"
            yield (
                f"{all_of}: the model sees each as {seen}, and reward functions are handed its "
                f"prompt and completions as texts, {thoughts} (sees: everything | answer)"
            )
        names = self.columns.prompt_columns
        used = {*names, self.columns.system_column, self.columns.tools_column}
        for name, setting in _UNREAD.items():
            filled = self.counts[f"column {name}"]
            if filled and name not in used and (name != "input" or names == ("instruction",)):
                yield (
                    f"{filled:,} of {rows:,} rows have something in the column '{name}', which the "
                    f"model is not shown; {self.setting}.{setting.format(prompt=names[0])} shows it"
                )

    def prompt(self, number: int | str, row: Any) -> Prompt:
        """The prompt of a row.

        Args:
            number: the row's, which is its id where it brings none.

        Raises:
            DataError: it is none.
        """
        where = f"{self.source}: row {number}"
        self._check(row, where)
        self._count(row)
        names = self.columns.prompt_columns
        place = f"{where}, '{names[0]}'"
        said = read_conversation(_cell(row, names, where), place)
        self.counts["text"] += said.text is not None
        messages = said.messages
        if self.columns.answer_turn == "drop":
            messages = without_answer(messages)
        of_rubrics = type(self.columns) is PromptColumns
        check_turn(messages, place, None if of_rubrics else f"{self.setting}.answer_turn")
        is_raw = said.text is not None and self.columns.text_prompts == "raw"
        system = self._system(row, messages, where)
        if is_raw and system is not None:
            raise DataError(
                f"{where}: has a system message, and a prompt that the model sees as it stands has "
                f"no place for one; leave it out, or leave {self.setting}.text_prompts out"
            )
        return Prompt(
            id=self.ids.of(row.get("id"), number),
            messages=with_system(messages, system),
            columns={name: value for name, value in row.items() if name not in names},
            tools=self._tools(row, said, where),
            text=said.text,
            is_raw=is_raw,
            prefill=self.prefill,
        )

    def _system(self, row: Mapping[str, Any], messages: tuple[Message, ...], where: str) -> Any:
        """The system message that a row's prompt is put behind; None where there is none."""
        name = self.columns.system_column
        own = None if name is None else row.get(name)
        if own is not None and not isinstance(own, str):
            raise DataError(f"{where}, '{name}': is {shown(own)}; give a system message as text")
        if own is None or not own.strip():
            return self.system_prompt
        if has_system(messages):
            raise DataError(
                f"{where}: has a system message in its conversation and one in '{name}'; keep one"
            )
        return own

    def _tools(
        self, row: Mapping[str, Any], said: Conversation, where: str
    ) -> tuple[Mapping[str, Any], ...]:
        name = self.columns.tools_column
        tools = read_tools(row.get(name), f"{where}, '{name}'")
        if tools and said.tools:
            raise DataError(
                f"{where}: has tools in its conversation and in the column '{name}'; keep one"
            )
        own = tools or said.tools
        known = {tool["function"]["name"] for tool in self.environment_tools}
        twice = next((n for tool in own if (n := tool["function"]["name"]) in known), None)
        if twice is not None:
            raise DataError(
                f"{where}: has a tool {twice!r}, as the environment has; rename one of them, or "
                "leave the row's tools out"
            )
        return (*self.environment_tools, *own)

    def _count(self, row: Mapping[str, Any]) -> None:
        self.counts["rows"] += 1
        for name in (self.columns.system_column, self.columns.tools_column, *_UNREAD):
            if name is not None and _is_filled(row.get(name)):
                self.counts[f"column {name}"] += 1

    def check_named(self) -> None:
        """Raise DataError if a column that the settings name is in no row."""
        settings: dict[str, str | None] = {"system_column": self.columns.system_column}
        if self.columns.tools_column != PromptColumns().tools_column:
            settings["tools_column"] = self.columns.tools_column
        for setting, name in settings.items():
            if name is not None and self.counts["rows"] and not self.counts[f"column {name}"]:
                raise DataError(
                    f"{self.setting}.{setting}: no row has anything in a column '{name}'; leave "
                    "the setting out, or name another column"
                )

    def _check(self, row: Any, where: str) -> None:
        if not isinstance(row, Mapping):
            raise DataError(f"{where} is a {type(row).__name__}; rows must be dicts")
        names = self.columns.prompt_columns
        for name in names:
            if name not in row:
                named = [str(each) for each in row]
                usual = next((each for each in _USUAL if each in named), None)
                guess = nearest(name, named) or usual
                meant = f"; did you mean '{guess}'?" if guess else ""
                at = where.removeprefix(self.setting)
                raise DataError(
                    f"{self.setting}.prompt_column{at} has no column '{name}', it has "
                    f"{', '.join(map(str, row)) or 'none'}{meant}"
                )
        for name in STANDARD_ARGUMENTS:
            if name in row and name not in names:
                raise DataError(
                    f"{where}, column '{name}' has a name that reward functions know as something "
                    "else; rename the column"
                )


def _is_filled(value: Any) -> bool:
    if isinstance(value, str):
        return value.strip() not in ("", "[]")
    return isinstance(value, Mapping | list | tuple) and len(value) > 0


def _cell(row: Mapping[str, Any], names: tuple[str, ...], where: str) -> Any:
    """The content of the columns of a prompt: of several, their texts joined."""
    if len(names) == 1:
        return row[names[0]]
    parts = [row[name] for name in names]
    for name, part in zip(names, parts, strict=True):
        if part is not None and not isinstance(part, str):
            raise DataError(
                f"{where}, '{name}': is {shown(part)}; columns of a prompt that are joined hold "
                "text"
            )
    return "\n\n".join(part for part in parts if part and part.strip())
