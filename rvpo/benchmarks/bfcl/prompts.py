"""BFCL's questions as prompts: with tools for the chat template, or in the form of ToolRL.

ToolRL's (its repository, benchmarks/BFCL/rlla_qwen.py, for models trained on RLLA) is a system
prompt that lists the functions, of which it does not say what they require, and one message of the
user: the heading of RLLA's dialogues and every turn so far, each of the user's followed by what to
do where no tool fits. System messages of the questions are left out there, and so they are here.
The words of both are ours, and can be replaced by the reference's.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from rvpo.benchmarks.bfcl.rows import BfclRow
from rvpo.benchmarks.bfcl.schema import Tools, described
from rvpo.benchmarks.template import read_template
from rvpo.types import Prompt

_TOOLS: Final = "<<tools>>"
_REQUEST: Final = "<<request>>"
_HEADING: Final = "**Dialogue Records History**"


@dataclass(frozen=True, slots=True)
class ToolRl:
    """The two texts around a question."""

    system: str
    """System message; holds <<tools>>."""
    user: str
    """Turn of the user; holds <<request>>."""

    @staticmethod
    def of(system: Path | None, user: Path | None) -> ToolRl:
        """Those of the files, or ours.

        Raises:
            ConfigError: a given file cannot be read, or has no place for what belongs there.
        """
        where = "benchmarks.bfcl"
        return ToolRl(
            read_template(f"{where}.system_prompt", system, "bfcl/toolrl_system.txt", [_TOOLS]),
            read_template(f"{where}.user_prompt", user, "bfcl/toolrl_user.txt", [_REQUEST]),
        )

    @property
    def sha256(self) -> str:
        """SHA-256 of both templates, in hexadecimal."""
        return hashlib.sha256(json.dumps([self.system, self.user]).encode()).hexdigest()

    def prompt(self, row: BfclRow) -> Prompt:
        """A question with its functions."""
        listed = "\n".join(
            _listed(number, described(function, row.language))
            for number, function in enumerate(row.functions, start=1)
        )
        turns = [
            _filled(self.user, _REQUEST, turn["content"].strip())
            if turn["role"] == "user"
            else f"\n{turn['content'].strip()}"
            for turn in row.messages
            if turn["role"] != "system"
        ]
        return Prompt(
            id=row.id,
            messages=(
                {"role": "system", "content": _filled(self.system, _TOOLS, listed)},
                {"role": "user", "content": "\n".join([_HEADING, *turns])},
            ),
        )


def with_tools(row: BfclRow, shown: Tools) -> Prompt:
    """A question whose functions are left to the chat template."""
    return Prompt(id=row.id, messages=row.messages, tools=shown.definitions)


def _listed(number: int, function: Mapping[str, Any]) -> str:
    properties = json.dumps(function["parameters"].get("properties", {}))
    return (
        f"{number}. Name: {function['name']}\nDescription: {function['description']}\n"
        f"Parameters: {properties}"
    )


def _filled(text: str, place: str, value: str) -> str:
    before, after = text.split(place, 1)
    return before + value + after
