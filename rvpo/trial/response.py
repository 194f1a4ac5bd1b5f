"""Responses to try the judge on."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

from rvpo.rewards.reference import answer_in
from rvpo.thinking import Sees
from rvpo.types import Prompt

Kind = Literal["given", "reference", "empty", "off-topic"]
"""Origin of a response: a file, or a control whose worth is known without a model: what the data
hold as a good answer, nothing at all, and something about another prompt."""

REFERENCE_COLUMNS = ("reference_answer", "ideal_completion", "answer")
"""Columns in which data keep a good answer, the first one first."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Response:
    """A completion, and the prompt that it answers or fails to."""

    prompt: Prompt
    text: str
    """The answer."""
    kind: Kind = "given"
    everything: str | None = None
    """The completion with its thoughts; None where it has none."""

    def seen(self, sees: Sees) -> str:
        """Part that a reward is shown."""
        return self.text if sees == "answer" or self.everything is None else self.everything


def first_prompts(responses: Sequence[Response], count: int) -> tuple[Response, ...]:
    """The responses to the first `count` different prompts."""
    chosen = set(list(dict.fromkeys(r.prompt.turns for r in responses))[:count])
    return tuple(response for response in responses if response.prompt.turns in chosen)


def controls(prompts: Sequence[Prompt], count: int) -> tuple[Response, ...]:
    """Responses that a rubric has to tell apart, for each of the first `count` prompts.

    A reference as far as the data have one; an empty response; and off the topic, what follows
    among the other prompts' references, or among their questions where no prompt has a reference.
    """
    return tuple(r for place in range(min(count, len(prompts))) for r in _controls(prompts, place))


def _controls(prompts: Sequence[Prompt], place: int) -> Iterator[Response]:
    prompt = prompts[place]
    own = _reference(prompt)
    if own:
        yield Response(prompt=prompt, text=own, kind="reference")
    yield Response(prompt=prompt, text="", kind="empty")
    others = [*prompts[place + 1 :], *prompts[:place]]
    foreign = next((text for p in others if (text := _reference(p)) and text != own), None)
    if foreign is None:
        asked = prompt.messages[-1]["content"]
        foreign = next((t for p in others if (t := p.messages[-1]["content"]) != asked), None)
    if foreign is not None:
        yield Response(prompt=prompt, text=foreign, kind="off-topic")


def _reference(prompt: Prompt) -> str:
    for column in REFERENCE_COLUMNS:
        if text := answer_in(prompt.columns.get(column)):
            return text
    return ""
