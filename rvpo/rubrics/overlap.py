"""Questions that occur twice, within a data set or in training and in what is held out."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Mapping, Sequence
from typing import Any

_EDGE = re.compile(r"^[\W_]+|[\W_]+$")


def normalized(text: str) -> str:
    """The text without what copies differ in: case, white space, forms of a character and
    punctuation at either end. Text of punctuation alone stays as it is."""
    text = " ".join(unicodedata.normalize("NFKC", text).casefold().split())
    return _EDGE.sub("", text) or text


def question(prompt: str | Sequence[Mapping[str, str]]) -> str:
    """What tells whether two prompts ask the same; a text is equal to it as one user message.

    Args:
        prompt: text, or chat messages, of which system messages do not count.
    """
    if isinstance(prompt, str):
        return normalized(prompt)
    turns = [message["content"] for message in prompt if message["role"] != "system"]
    return "\n".join(map(normalized, turns))


def without_overlap(
    rows: Sequence[Mapping[str, Any]], held_out: Sequence[Mapping[str, Any]]
) -> tuple[list[Mapping[str, Any]], int]:
    """The rows whose question no held-out row asks.

    Args:
        rows: training rows, each with a column `prompt`.
        held_out: rows that the model is to be tested on, with a column `prompt` as well.

    Returns:
        The rows that stay, in their order, and how many were removed.
    """
    asked = {question(row["prompt"]) for row in held_out}
    kept = [row for row in rows if question(row["prompt"]) not in asked]
    return kept, len(rows) - len(kept)
