"""Prompts and completions as reward functions are handed them.

TRL has two formats. Where a prompt is a list of messages, so is its completion; where it is text,
both are texts. A function that is written for messages can be given texts too: by its index, a
message is found in a text.
"""

from __future__ import annotations

from collections.abc import KeysView, Sequence
from typing import Any, SupportsIndex

from rvpo.runtime.deepcopy import own
from rvpo.thinking import Sees
from rvpo.types import Message, Prompt, Sample


def handed_prompt(prompt: Prompt) -> Any:
    """A prompt: its text, or its messages where the data have messages."""
    messages = own(list(map(dict, prompt.messages)))
    return messages if prompt.text is None else HandedText(prompt.text, messages)


def handed_completion(sample: Sample, sees: Sees) -> Any:
    """A completion in the format of its prompt. An episode has the messages of all its turns; as
    text it is what the policy said last.

    Args:
        sees: part of what the policy wrote that is shown.
    """
    prompt, said = sample.prompt, sample.sampled(sees)
    messages: list[Any] = [{"role": "assistant", "content": said}]
    if sample.episode is not None:
        messages = own(list(map(dict, sample.episode.shown(sees))))
    return messages if prompt.text is None else HandedText(said, messages)


class HandedText(str):
    """Text, which it is in all respects, in whose letters messages can be read.

    `text[0]` is its first letter, as of any text, and `text[0]["content"]` is what its first
    message says: the former is how functions of TRL's standard format read a completion, the
    latter how those of its conversational format do. No text without messages could be read so.

    Args:
        text: the text.
        messages: those of the same conversation, by whose indices they are found.
    """

    messages: Sequence[Message]

    def __new__(cls, text: str, messages: Sequence[Message] = ()) -> HandedText:
        """Make a text."""
        made = super().__new__(cls, text)
        made.messages = messages
        return made

    def __getitem__(self, key: SupportsIndex | slice) -> str:
        """A letter or a part; a letter at the index of a message is that message too."""
        if isinstance(key, slice):
            return super().__getitem__(key)
        place = key.__index__()
        if not -len(self.messages) <= place < len(self.messages):
            return super().__getitem__(place)
        letter = super().__getitem__(place) if -len(self) <= place < len(self) else ""
        return MessageLetter(letter, self.messages[place])


class MessageLetter(str):
    """A letter of a text, from which a message at its index can be read."""

    message: Message

    def __new__(cls, letter: str, message: Message | None = None) -> MessageLetter:
        """Make a letter."""
        made = super().__new__(cls, letter)
        made.message = {} if message is None else message
        return made

    def __getitem__(self, key: Any) -> Any:
        """A field of the message by its name; else as of any text."""
        return self.message[key] if isinstance(key, str) else super().__getitem__(key)

    def get(self, name: str, default: Any = None) -> Any:
        """A field of the message; `default` where it has none."""
        return self.message.get(name, default)

    def keys(self) -> KeysView[str]:
        """Names of the message's fields."""
        return self.message.keys()
