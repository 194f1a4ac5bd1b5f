"""The columns of a row that make its prompt."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import AfterValidator

from rvpo.fields import Section


def _named(value: str | list[str]) -> str | list[str]:
    names = [value] if isinstance(value, str) else value
    if not names or len(set(names)) < len(names):
        raise ValueError(f"must name a column, or several different ones, got {value}")
    return value


class PromptColumns(Section):
    """The place of the prompt in a row, and how it is read."""

    prompt_column: Annotated[str | list[str], AfterValidator(_named)] = "prompt"
    """The column that holds the prompt: text, or a list of chat messages in OpenAI's form or
    ShareGPT's. Several columns of text, such as [instruction, input], are joined by blank lines."""
    system_column: str | None = None
    """The column that holds a row's system message; where it is empty, `data.system_prompt`
    stands."""
    tools_column: str = "tools"
    """The column that holds the functions that the chat template shows the model: a list, or its
    JSON text."""
    answer_turn: Literal["refuse", "drop"] = "refuse"
    """Treatment of a conversation that ends with a turn of the assistant: it is refused, or that
    turn is cut off."""
    text_prompts: Literal["template", "raw"] = "template"
    """Form in which the model sees a prompt that is text: a user's turn of its chat template, or
    the text as it stands, with control tokens and all, as TRL gives it. Reward functions are handed
    texts either way."""

    @property
    def prompt_columns(self) -> tuple[str, ...]:
        """Names of the columns that hold the prompt."""
        names = self.prompt_column
        return (names,) if isinstance(names, str) else tuple(names)
