"""A prompt with what a world says first."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from rvpo.types import Message, Prompt


def opening(prompt: Prompt, told: Sequence[Message] | str) -> Prompt:
    """The prompt that the policy sees.

    Args:
        told: see `Session.begin`: messages go behind the prompt's, and text to the end of its last
            one, as TRL puts it.
    """
    if not told:
        return prompt
    if not isinstance(told, str):
        return replace(prompt, messages=(*prompt.messages, *told))
    *before, last = prompt.messages
    said = {**last, "content": last["content"] + told}
    text = None if prompt.text is None else prompt.text + told
    return replace(prompt, messages=(*before, said), text=text)
