"""Prompts as the text that a model reads."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from rvpo.errors import ConfigError, DataError
from rvpo.rollout.control_tokens import ControlTokens
from rvpo.types import Message, Prompt


@dataclass(frozen=True)
class Rendering:
    """A chat template, with what it is given beside a prompt.

    The spelling of a control token in what others than the assistant say is marked in the text.

    Args:
        now: date for templates that write one.
        values: values of the template's variables, the same in every prompt.
        control: the model's control tokens.
    """

    tokenizer: Any
    now: datetime
    values: Mapping[str, Any]
    control: ControlTokens

    def whole(self, prompt: Prompt) -> str:
        """A prompt, its tools in it, and the text that begins the answer.

        Raises:
            ConfigError: the template begins the answer in this way already.
            DataError: the template refuses the prompt, or does not show its tools.
        """
        text = self._raw(prompt) if prompt.is_raw else self.of(prompt, prompt.tools)
        if prompt.tools and text == self._without_tools(prompt):
            raise DataError(
                f"prompt {prompt.id!r} has tools, and the model's chat template does not show "
                "them; use a model whose template does, set model.chat_template=chatml_tools, or "
                "list them in the prompt (benchmarks.bfcl.format=toolrl) and rename the column"
            )
        begun = prompt.prefill.strip()
        if begun and text.rstrip().endswith(begun):
            raise ConfigError(
                f"data.prefill: prompt {prompt.id!r} ends with {begun!r} already, as the chat "
                "template or the data write it; leave the setting out"
            )
        return text + prompt.prefill

    def of(self, prompt: Prompt, tools: Sequence[Mapping[str, Any]]) -> str:
        """A prompt as the template shows it with tools, up to the answer.

        Templates differ in whether they take the arguments of a call as a table or as JSON text: a
        prompt that is refused with the one is shown with the other.

        Raises:
            DataError: the template refuses it.
        """
        messages = [self._of_data(message) for message in prompt.messages]
        marked = [self.control.marked(tool) for tool in tools]
        with asking(prompt):
            try:
                return self._rendered(messages, marked)
            except Exception:  # templates are code of the model and raise anything
                other = [_with_text_arguments(message) for message in messages]
                if other == messages:
                    raise
                try:
                    return self._rendered(other, marked)
                except Exception:  # the same
                    pass
                raise

    def data_of(self, prompt: Prompt) -> list[Any]:
        """The messages and tools of a prompt in which a control token is no control: all but what
        the assistant says, and nothing where the model sees the prompt as it stands."""
        if prompt.is_raw:
            return []
        return [*(m for m in prompt.messages if m["role"] != "assistant"), *prompt.tools]

    def _of_data(self, message: Message) -> dict[str, Any]:
        if message["role"] == "assistant":
            return dict(message)
        marked = self.control.marked({k: v for k, v in message.items() if k != "role"})
        return {"role": message["role"], **marked}

    def _raw(self, prompt: Prompt) -> str:
        if prompt.tools:
            raise DataError(
                f"prompt {prompt.id!r} has tools, which no template shows where the model sees the "
                "prompt as it stands; write them into the prompt and rename the column"
            )
        return prompt.text or ""

    def _without_tools(self, prompt: Prompt) -> str | None:
        """The rendered prompt; None where the template is only for prompts with tools."""
        try:
            return self.of(prompt, ())
        except DataError:
            return None

    def _rendered(self, messages: list[dict[str, Any]], tools: Sequence[Mapping[str, Any]]) -> str:
        text: str = self.tokenizer.apply_chat_template(
            messages,
            tools=[dict(tool) for tool in tools] or None,
            tokenize=False,
            add_generation_prompt=True,
            strftime_now=self.now.strftime,
            **self.values,
        )
        return text


def alike(one: Rendering, other: Rendering, prompt: Prompt) -> bool:
    """True where a prompt reads the same to the model by both."""
    try:
        return one.whole(prompt) == other.whole(prompt)
    except DataError:  # one of them cannot do without what the other has
        return False


def _with_text_arguments(message: Mapping[str, Any]) -> dict[str, Any]:
    """A message whose calls have their arguments as JSON text."""
    calls = message.get("tool_calls")
    if not calls:
        return dict(message)
    return {**message, "tool_calls": [_with_text(call) for call in calls]}


def _with_text(call: Mapping[str, Any]) -> dict[str, Any]:
    function = dict(call.get("function", {}))
    if isinstance(function.get("arguments"), Mapping):
        function["arguments"] = json.dumps(function["arguments"], ensure_ascii=False)
    return {**call, "function": function}


@contextmanager
def asking(prompt: Prompt) -> Iterator[None]:
    """Name the prompt at which a template or a tokenizer fails."""
    try:
        yield
    except Exception as error:  # they are code of the model and raise anything
        raise DataError(
            f"prompt {prompt.id!r}: the model's chat template or tokenizer refuses it ({error})"
        ) from error
