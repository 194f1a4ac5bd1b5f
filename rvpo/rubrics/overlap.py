"""Questions that occur twice, within a data set or in training and in what is held out."""

from __future__ import annotations

import json
import re
import unicodedata
from collections.abc import Mapping, Sequence
from typing import Any

from rvpo.types import Prompt, is_message

# Signs say something: 2+, n!, -2. So does a point before a number, and a prime without a partner.
_END = re.compile(r"[\s.,;:?\uff1f\u3002]+$")
_QUOTED = re.compile(r"""["'\u201c\u2018\u00ab](.+)["'\u201d\u2019\u00bb]""")


def normalized(text: str) -> str:
    """The text without what copies differ in: case, white space, ways to compose a letter, quotes
    around it and punctuation at its end. Text of punctuation alone stays as it is."""
    text = " ".join(unicodedata.normalize("NFC", text).casefold().split())
    bare = _END.sub("", text)
    while quoted := _QUOTED.fullmatch(bare):
        bare = _END.sub("", quoted[1].strip())
    return bare or text


def question(prompt: str | Sequence[Mapping[str, Any]] | Mapping[str, Any]) -> str:
    """Text by which two prompts are the same question; a text is equal to it as one user message.

    Args:
        prompt: text, chat messages, of which system messages do not count, or turns in another
            form, all of which count.
    """
    if isinstance(prompt, str):
        return normalized(prompt)
    if isinstance(prompt, Mapping) or not all(map(is_message, prompt)):
        return normalized(json.dumps(prompt, sort_keys=True, default=str))
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


def without_held_out(
    train: Sequence[Prompt], held_out: Sequence[Prompt]
) -> tuple[tuple[Prompt, ...], int]:
    """The training prompts that ask nothing that is held out, and how many others there were."""
    asked = {question(prompt.messages) for prompt in held_out}
    kept = tuple(prompt for prompt in train if question(prompt.messages) not in asked)
    return kept, len(train) - len(kept)
