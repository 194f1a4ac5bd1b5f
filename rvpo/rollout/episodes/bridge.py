"""The tokens between two turns of the policy, as its chat template writes them."""

from __future__ import annotations

import re
import secrets
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from enum import Enum, auto
from functools import cached_property
from typing import Final

from rvpo.errors import DataError
from rvpo.rollout.control_tokens import without_marks
from rvpo.rollout.encoder import Encoder
from rvpo.rollout.stops import behind_an_answer
from rvpo.thinking import HARMONY
from rvpo.types import Message, Prompt

_SENTINEL: Final = f"quartz{secrets.randbits(64)}quartz"
"""A turn of the policy that no template and no world writes."""
_TOLD: Final = f"agate{secrets.randbits(64)}agate"
"""A turn of the world, likewise."""
_SHOWN: Final = 40
_ID: Final = "call{:05d}"
"""The id of a call that has none. Mistral's templates ask for nine letters or digits."""


class _Way(Enum):
    """Turns of the policy that a template is shown with what they call. The text has it already,
    but there are templates that want to see calls before results."""

    NONE = auto()
    EARLIER = auto()
    ALL = auto()

    def shown(self, message: Message, *, is_last: bool) -> Message:
        """A message in this way."""
        if self is _Way.ALL or (self is _Way.EARLIER and not is_last):
            return message
        return {name: value for name, value in message.items() if name != "tool_calls"}


@dataclass(frozen=True, slots=True)
class Passage:
    """The tokens between two turns of the policy."""

    token_ids: tuple[int, ...]
    text: str
    """Their text, with the marks of `ControlTokens`."""
    rewriting: str
    """Difference between the conversation so far and what the template makes of it; empty where
    there is none."""


@dataclass(frozen=True)
class Bridge:
    """The passages that a chat template puts between a turn of the policy and its next one.

    What was sampled is never tokenized again. Where the rendered conversation begins with it, the
    rest of that is the passage. Otherwise (templates take thoughts out of earlier turns, strip
    blank space, or write calls in their own way) it is found behind a turn that stands in place of
    the policy's. A token that ended the turn stands for the one that the template would write.
    """

    encoder: Encoder

    def opening(self, prompt: Prompt) -> str:
        """The text that the policy's first turn stands behind, with the marks of
        `ControlTokens`."""
        return self.encoder.rendering.whole(prompt)

    def text_of(self, token_ids: Sequence[int]) -> str:
        """Sampled tokens as text, exactly: decoders drop blank space at the beginning of one."""
        ahead = [] if self._anchor is None else [self._anchor[1]]
        text: str = self.encoder.tokenizer.decode(
            [*ahead, *token_ids], skip_special_tokens=False, clean_up_tokenization_spaces=False
        )
        return text if self._anchor is None else text.removeprefix(self._anchor[0])

    def passage(
        self,
        prompt: Prompt,
        messages: Sequence[Message],
        known: str,
        end: str,
        *,
        is_compared: bool = True,
    ) -> Passage:
        """The passage behind the policy's last turn.

        Args:
            prompt: the prompt of the episode.
            messages: chat turns behind it, as the template is to be shown them: the policy's, and
                those of the world up to the ones that follow.
            known: the conversation up to the end of that turn, without the token that ended it.
            end: the text of that token; empty where another thing ended the turn.
            is_compared: true to look for a difference between it and the template.

        Raises:
            DataError: the template refuses the messages, or leaves out a turn of the policy.
        """
        messages = _with_ids(messages)
        ways = self._ways(prompt, messages[-1]["role"])
        rest, rewriting = None, ""
        if is_compared:
            rest, rewriting = self._compared(prompt, messages, known, ways)
        if rest is None:
            rest, closing = self._behind_sentinel(prompt, messages, ways)
        else:
            closing = self._closing(rest)
        if end and rest.startswith(end):
            rest = rest.removeprefix(end)
        elif end:
            rest = rest.removeprefix(closing)
            rewriting = rewriting or f"{closing or rest[:_SHOWN]!r} instead of {end!r}"
        return Passage(self._tokens(rest), rest, rewriting)

    def check(self, prompt: Prompt, role: str) -> None:
        """Refuse a template that has no place for what a world says.

        Args:
            prompt: any one, with the tools that all have.
            role: the one in which the world speaks.

        Raises:
            DataError: the template refuses such turns, or does not show them.
        """
        self._ways(prompt, role)

    def _ways(self, prompt: Prompt, role: str) -> tuple[_Way, ...]:
        """The ways in which the template shows what is said in a role, asked once of a probe."""
        if role not in self._known_ways:
            self._known_ways[role] = self._tried(prompt, role)
        return self._known_ways[role]

    def _tried(self, prompt: Prompt, role: str) -> tuple[_Way, ...]:
        tool = prompt.tools[0].get("function", {}) if prompt.tools else {}
        name = tool.get("name", "call")
        calls = [{"type": "function", "function": {"name": name, "arguments": {}}}]
        said = {"role": "assistant", "content": ""} | (
            {"tool_calls": calls} if role == "tool" else {}
        )
        told = {"role": role, "content": _TOLD} | ({"name": name} if role == "tool" else {})
        found, refused = [], None
        for way in _Way:
            try:
                for rounds in (1, 2):
                    probe = _with_ids([said, told] * rounds)
                    rest, _ = self._behind_sentinel(prompt, probe, (way,))
                    if _TOLD not in rest:
                        raise DataError(f"it does not show messages of the role {role!r}")
            except DataError as error:
                refused = refused or error
            else:
                found.append(way)
        if not found:
            raise DataError(
                f"the model's chat template has no place for the turns of role {role!r} by which "
                f"the environment answers ({refused}); use a model whose template has, or set "
                "model.chat_template to one that has"
            )
        return tuple(found)

    def _compared(
        self, prompt: Prompt, messages: Sequence[Message], known: str, ways: Sequence[_Way]
    ) -> tuple[str | None, str]:
        """The text behind the known one, where the rendered conversation begins with it; else None
        and the difference."""
        rewriting = ""
        for way in ways:
            try:
                text = self._rendered(prompt, [way.shown(m, is_last=False) for m in messages])
            except DataError as error:
                rewriting = rewriting or str(error)
                continue
            if text.startswith(known):
                return text[len(known) :], ""
            rewriting = rewriting or _difference(known, text)
        return None, rewriting

    def _behind_sentinel(
        self, prompt: Prompt, messages: Sequence[Message], ways: Sequence[_Way]
    ) -> tuple[str, str]:
        """The text behind a policy's turn that stands in place of the last one, and the part of it
        that ends a turn."""
        last = max(i for i, message in enumerate(messages) if message["role"] == "assistant")
        refused: DataError | None = None
        for way in ways:
            standing = []
            for i, message in enumerate(messages):
                shown = way.shown(message, is_last=i == last)
                if message["role"] == "assistant":
                    word = "" if "tool_calls" in shown else "..."
                    shown = {**shown, "content": _SENTINEL if i == last else word}
                standing.append(shown)
            try:
                _, found, rest = self._rendered(prompt, standing).rpartition(_SENTINEL)
            except DataError as error:
                refused = refused or error
                continue
            closing = self._closing(rest)
            if "tool_calls" in standing[last]:  # behind what the template makes of the calls
                stop = self._stop.search(rest)
                closing, rest = ("", "") if stop is None else (stop[0], rest[stop.start() :])
            if found and rest:
                return rest, closing
        raise refused or DataError(
            f"prompt {prompt.id!r}: the model's chat template leaves out a turn of the assistant, "
            "and a conversation cannot go on behind it; use another template"
        )

    def _tokens(self, text: str) -> tuple[int, ...]:
        """[T] token ids of a text behind others, which tokenizers read otherwise than one that
        stands alone."""
        if self._anchor is not None:
            ids = self.encoder.tokens_of(self._anchor[0] + text)
            if ids[:1] == [self._anchor[1]]:
                return tuple(ids[1:])
        return tuple(self.encoder.tokens_of(text))

    @cached_property
    def _anchor(self) -> tuple[str, int] | None:
        """An end token and its id, to put before a text; None where none is read as one token."""
        for token in self.encoder.stop_ids:
            text = self.encoder.tokenizer.convert_ids_to_tokens(token)
            if isinstance(text, str) and self.encoder.tokens_of(text) == [token]:
                return text, token
        return None

    def _closing(self, text: str) -> str:
        """The beginning of a text that ends a turn of the assistant; empty where it has none."""
        return next((each for each in self._closings if text.startswith(each)), "")

    @cached_property
    def _closings(self) -> tuple[str, ...]:
        """Texts that the template writes behind a turn, up to the end token; in harmony turns that
        are not the last one have another."""
        tokenizer = self.encoder.tokenizer
        tail = behind_an_answer(tokenizer, self.encoder.template_values)
        stop = self._stop.search(tail)
        own = [] if stop is None else [tail[: stop.end()]]
        return (*own, HARMONY[3]) if HARMONY[0] in str(tokenizer.chat_template) else tuple(own)

    @cached_property
    def ends(self) -> Mapping[int, str]:
        """Texts of the tokens that end a turn."""
        return {token: self.text_of([token]) for token in self.encoder.stop_ids}

    @cached_property
    def _stop(self) -> re.Pattern[str]:
        """An end token, as text."""
        return re.compile("|".join(map(re.escape, filter(None, self.ends.values()))) or r"(?!)")

    @cached_property
    def _known_ways(self) -> dict[str, tuple[_Way, ...]]:
        return {}

    def _rendered(self, prompt: Prompt, messages: Sequence[Message]) -> str:
        whole = replace(prompt, messages=(*prompt.messages, *messages))
        return self.encoder.rendering.of(whole, prompt.tools)


def _with_ids(messages: Sequence[Message]) -> list[Message]:
    """The messages, with an id for every call and every result that has none, in their order."""
    called: Iterator[str] = iter(())
    found: list[Message] = []
    for turn, message in enumerate(messages):
        if message.get("tool_calls"):
            calls = [
                {"id": _ID.format(100 * turn + n), **call}
                for n, call in enumerate(message["tool_calls"])
            ]
            called = iter([call["id"] for call in calls])
            message = {**message, "tool_calls": calls}
        elif message["role"] == "tool":
            id = next(called, _ID.format(100 * turn))
            message = {"tool_call_id": id, **message}
        found.append(message)
    return found


def _difference(known: str, text: str) -> str:
    """The first place at which a rendered text is not the known one."""
    own, its = without_marks(known), without_marks(text)
    pairs = enumerate(zip(own, its, strict=False))
    place = next((i for i, (a, b) in pairs if a != b), min(len(own), len(its)))
    return f"{its[place : place + _SHOWN]!r} instead of {own[place : place + _SHOWN]!r}"
