"""The grader's prompt: a template with the conversation and one rubric item put in."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from rvpo.benchmarks.template import read_template
from rvpo.types import Message

_PLACES = ("<<conversation>>", "<<rubric_item>>")
_PLACE = re.compile("|".join(map(re.escape, _PLACES)))


@dataclass(frozen=True)
class Template:
    """A grader's prompt."""

    text: str

    @staticmethod
    def read(path: Path | None) -> Template:
        """The template of a file, or our own, which states the reference's rules in our words.

        Raises:
            ConfigError: the file cannot be read, or lacks a place.
        """
        setting = "benchmarks.healthbench.grader_template"
        return Template(read_template(setting, path, "healthbench/grader.txt", _PLACES))

    @property
    def sha256(self) -> str:
        """SHA-256 of the text in hexadecimal, kept with every score."""
        return hashlib.sha256(self.text.encode()).hexdigest()

    def filled(self, messages: Sequence[Message], response: str, item: str) -> str:
        """The prompt for one item, both places filled in one pass: a response that holds the name
        of a place stays as it is. Turns are written as the reference does."""
        turns = [*messages, {"role": "assistant", "content": response}]
        conversation = "\n\n".join(f"{turn['role']}: {turn['content']}" for turn in turns)
        parts = {_PLACES[0]: conversation, _PLACES[1]: item}
        return _PLACE.sub(lambda place: parts[place[0]], self.text)
