"""Chat messages to token ids and back, the same for every engine."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from functools import cached_property
from itertools import islice
from types import MappingProxyType
from typing import Any, Final

from rvpo.calls import CALL_MARKS
from rvpo.errors import ConfigError, DataError
from rvpo.model_files import reading_model
from rvpo.rollout.chat_template import SETTING, check_template, check_values
from rvpo.rollout.control_tokens import TAG, ControlTokens, is_marked
from rvpo.rollout.rendering import Rendering, asking
from rvpo.rollout.stops import read_stops
from rvpo.rollout.templates import TEMPLATES, begun
from rvpo.rollout.thought_budget import BUDGET, ThoughtBudget, contains
from rvpo.runtime.ignore import ignore
from rvpo.thinking import ANALYSIS, HARMONY, Parts, Thinking, closing
from rvpo.types import Prompt

_END_OF_PROMPT: Final = 64
"""Tokens in which a marker fits, even spelt letter by letter."""
_BATCH: Final = 256
"""Prompts of one call of the tokenizer, which shares them out among its threads."""
_TRIED: Final = 8
"""Prompts with a field of messages that are rendered without it."""
_BESIDE: Final = ("", " ", "\n", "\n\n", "a", ".", "?", ":")
"""Texts that may stand beside a marker."""
_ALWAYS: Final = {"role", "content"}
_SAYING: Final = frozenset(
    ["tool_calls", "function_call", "image", "images", "audio", "audios", "video", "videos"]
)
"""Fields that are part of what a message says, not of what is said about it."""


@dataclass(frozen=True)
class Encoder:
    """A tokenizer with a chat template, and the ids that end a completion."""

    tokenizer: Any
    stop_ids: tuple[int, ...]
    max_context_tokens: int
    vocabulary: int
    """Tokens that the model can sample, by its output layer: in some models it is larger than the
    tokenizer, and ids of the rest are sampled, too."""
    now: datetime = field(default_factory=datetime.now)
    """Date for templates that write one, fixed so that prompts do not change overnight."""
    template_values: Mapping[str, Any] = field(default_factory=dict)
    """Values of variables of the chat template, the same in every prompt."""
    markers: tuple[str, str] | None = None
    """Text that opens a thought of the model, and text that closes it, where the settings tell."""
    max_thought_tokens: int | None = None
    """Tokens after which the engine ends a thought; None where it does not."""
    most_prompt_tokens: int | None = None
    """Tokens of a prompt, of which a longer one loses its first; None where it loses none."""

    @staticmethod
    def from_model(
        path: str,
        *,
        trust_remote_code: bool,
        max_context_tokens: int | None,
        say: Callable[[str], None] = ignore,
        chat_template: str | None = None,
        template_values: Mapping[str, Any] = MappingProxyType({}),
        markers: tuple[str, str] | None = None,
        max_thought_tokens: int | None = None,
    ) -> Encoder:
        """Read tokenizer, stop tokens and context length of a model.

        Args:
            say: see `read_stops`.
            chat_template: the one to use; that of the tokenizer if left out.
            template_values: see the class.
            markers: see the class.
            max_thought_tokens: see the class.

        Raises:
            ConfigError: there is no tokenizer, no chat template or no end token, the model's
                context is shorter than asked for, or the template has no such variable.
        """
        from transformers import AutoConfig, AutoTokenizer

        with reading_model(path):
            tokenizer = AutoTokenizer.from_pretrained(path, trust_remote_code=trust_remote_code)
            model = AutoConfig.from_pretrained(path, trust_remote_code=trust_remote_code)
        if chat_template is not None:
            check_template(chat_template)
            tokenizer.chat_template = begun(chat_template, tokenizer)
        if not tokenizer.chat_template:
            raise ConfigError(
                f"model.path: the tokenizer of {path!r} has no chat template; use an instruct "
                f"model, or set model.chat_template: one of {', '.join(TEMPLATES)}, or a file"
            )
        check_values(tokenizer, template_values, path)
        stop_ids = read_stops(path, tokenizer, model, say, template_values)
        # Of a model that sees and reads, the half that reads.
        limit = getattr(model.get_text_config(), "max_position_embeddings", None)
        limit = limit or max_context_tokens
        if limit is None:
            raise ConfigError(
                f"rollout.engine.max_context_tokens: {path!r} states no context length; set one"
            )
        if max_context_tokens is not None and max_context_tokens > limit:
            raise ConfigError(
                f"rollout.engine.max_context_tokens: {max_context_tokens} is more than the "
                f"{limit} tokens of {path!r}"
            )
        return Encoder(
            tokenizer,
            stop_ids,
            max_context_tokens or limit,
            model.get_text_config().vocab_size,
            template_values=dict(template_values),
            markers=markers,
            max_thought_tokens=max_thought_tokens,
        )

    @property
    def is_dated(self) -> bool:
        """True where the chat template may write today's date, which then is `now`."""
        return "strftime_now" in str(self.tokenizer.chat_template)

    def encode(self, prompt: Prompt) -> tuple[int, ...]:
        """[T] token ids of the conversation, ready for the assistant's turn.

        Raises:
            DataError: the chat template refuses it, or does not show its tools.
        """
        if prompt.token_ids is not None:
            return prompt.token_ids
        return self._cut(tuple(self._tokens(prompt, self.rendering.whole(prompt))))

    def encode_each(self, prompts: Iterable[Prompt]) -> Iterator[tuple[int, ...]]:
        """[T] token ids of each prompt in turn, in half the time of one call for each.

        Raises:
            DataError: see `encode`.
        """
        rest = iter(prompts)
        while batch := list(islice(rest, _BATCH)):
            if any(prompt.token_ids is not None for prompt in batch):
                yield from map(self.encode, batch)
                continue
            texts = list(map(self.rendering.whole, batch))
            if any(prompt.is_raw for prompt in batch) or any(map(is_marked, texts)):
                found: Iterable[Sequence[int]] = map(self._tokens, batch, texts)
            else:
                try:
                    found = self.tokenizer(texts, add_special_tokens=False)["input_ids"]
                except Exception:  # the tokenizer's code raises anything, and names no prompt
                    found = map(self._tokens, batch, texts)
            yield from (self._cut(tuple(ids)) for ids in found)

    def _cut(self, ids: tuple[int, ...]) -> tuple[int, ...]:
        most = self.most_prompt_tokens
        return ids if most is None else ids[-most:]

    def check_fields(self, prompts: Sequence[Prompt], say: Callable[[str], None]) -> None:
        """Tell of fields of messages that the chat template does not show.

        Of each field a few prompts that have it are rendered with and without it.

        Args:
            say: hears of a field that a template may leave out, such as the id of a tool call.

        Raises:
            DataError: what a message says is in such a field.
        """
        having: dict[str, list[Prompt]] = {}
        for prompt in prompts:
            for name in {name for message in prompt.messages for name in message} - _ALWAYS:
                tried = having.setdefault(name, [])
                if len(tried) < _TRIED:
                    tried.append(prompt)
        for name, found in having.items():
            if any(self._shows(name, prompt) for prompt in found):
                continue
            told = f"prompt {found[0].id!r} has messages with a field '{name}', which the model's "
            if name in _SAYING:
                raise DataError(
                    f"{told}chat template does not show; use a model whose template does, or write "
                    "it into the content"
                )
            say(f"{told}chat template does not show: the model will not see it")

    def check_control_tokens(self, prompts: Sequence[Prompt], say: Callable[[str], None]) -> None:
        """Tell of prompts in whose texts control tokens of the model are spelt.

        Args:
            say: hears how many there are, and of one.
        """
        found = [
            (prompt.id, token)
            for prompt in prompts
            if (token := self.control.found(self.rendering.data_of(prompt)))
        ]
        if found:
            name, token = found[0]
            say(
                f"{len(found):,} of {len(prompts):,} prompts spell control tokens of the model, "
                f"such as {token!r} in prompt {name!r}: it reads them as text, not as control. "
                "Where prompts are written for the model already, set text_prompts=raw beside "
                "their prompt_column"
            )

    def check_values(self, prompts: Sequence[Prompt], say: Callable[[str], None]) -> None:
        """Tell of values for the chat template that change none of a few prompts, such as the text
        "false", which is true where a template asks.

        Args:
            say: hears of each; a value may well be the template's own.
        """
        tried = prompts[:_TRIED]
        for name, value in self.template_values.items():
            rest = {k: v for k, v in self.template_values.items() if k != name}
            without = replace(self, template_values=rest)
            if tried and all(_alike(self, without, prompt) for prompt in tried):
                say(
                    f"{SETTING}.{name}: {value!r} changes nothing in the first {len(tried)} "
                    "prompts, which are the same without it"
                )

    def _shows(self, name: str, prompt: Prompt) -> bool:
        bare = [{k: v for k, v in each.items() if k != name} for each in prompt.messages]
        try:
            without = self.rendering.of(replace(prompt, messages=tuple(bare)), prompt.tools)
        except DataError:  # it cannot do without
            return True
        return without != self.rendering.of(prompt, prompt.tools)

    def tokens_of(self, text: str) -> list[int]:
        """[T] token ids of a part of a rendered text, whose control tokens are the template's."""
        if is_marked(text):
            return self.control.ids(text)
        # The template writes the special tokens itself.
        ids: list[int] = self.tokenizer(text, add_special_tokens=False)["input_ids"]
        return ids

    def _tokens(self, prompt: Prompt, text: str) -> list[int]:
        """[T] token ids of a rendered prompt."""
        with asking(prompt):
            ids = self.tokens_of(text)
            if is_marked(text):
                return ids
        begins = list(self._begins) if prompt.is_raw else []
        return ids if ids[: len(begins)] == begins else [*begins, *ids]

    @cached_property
    def rendering(self) -> Rendering:
        """The chat template, with the values of this run."""
        return Rendering(self.tokenizer, self.now, self.template_values, self.control)

    @cached_property
    def control(self) -> ControlTokens:
        """Control tokens of the model, which a message cannot write."""
        thoughts = {marker for pair in self.thinking.pairs for marker in pair}
        return ControlTokens.of(self.tokenizer, self._ends, thoughts)

    @cached_property
    def _begins(self) -> tuple[int, ...]:
        """Tokens that the tokenizer puts before every text by itself."""
        bare = self.tokenizer("a", add_special_tokens=False)["input_ids"]
        full = self.tokenizer("a")["input_ids"]
        places = (n for n in range(len(full)) if full[n : n + len(bare)] == bare)
        return tuple(full[: next(places, 0)])

    def decode(self, completion_ids: Sequence[int], *, keeps_calls: bool = False) -> str:
        """The text of a completion, without special tokens but for those that mark its parts.

        Args:
            keeps_calls: whether those that mark calls of tools stay too.
        """
        unsaid = self._unsaid - self._calls if keeps_calls else self._unsaid
        said = [token for token in completion_ids if token not in unsaid]
        text: str = self.tokenizer.decode(said, skip_special_tokens=False)
        return text

    def marks_calls(self, completion_ids: Sequence[int]) -> bool:
        """True where special tokens that mark calls of tools are among those of a completion."""
        return not self._calls.isdisjoint(completion_ids)

    def split(self, prompt_ids: Sequence[int], text: str, prefill: str = "") -> Parts:
        """Thought and answer of a completion, of which the prompt may have begun the thought, and
        the length of an answer behind one.

        Args:
            prefill: the text at the prompt's end that begins the answer.
        """
        last = prompt_ids[-_END_OF_PROMPT - len(prefill) :]
        end: str = self.tokenizer.decode(last, skip_special_tokens=False)
        opened = self.thinking.opened_by(end.removesuffix(prefill))
        opened = self.thinking.begun_in(opened + prefill) if prefill else opened
        parts = self.thinking.split(text, opened)
        if not parts.answer or parts.answer == text:
            return parts
        ids = self.tokenizer(parts.answer, add_special_tokens=False)["input_ids"]
        return replace(parts, answer_tokens=len(ids))

    @cached_property
    def thought_budget(self) -> ThoughtBudget | None:
        """The limit of a thought, by the markers of this model; None where there is none.

        Raises:
            ConfigError: the model shows no markers, or its tokens of them depend on what stands
                beside them.
        """
        tokens = self.max_thought_tokens
        if tokens is None:
            return None
        pairs = (*self.thinking.pairs, *([ANALYSIS] if self._has_channels else []))
        if not pairs:
            raise ConfigError(
                f"{BUDGET}: neither the chat template nor the tokens of the model show by what it "
                "begins and ends a thought; write model.thinking={open: ..., close: ...}, or leave "
                "it out"
            )
        opening, end = pairs[0]
        return ThoughtBudget(tokens, opening, end, self._fixed(opening), self._fixed(end))

    def _fixed(self, marker: str) -> tuple[int, ...]:
        """[T] token ids of a marker, by which it can be found in others."""
        ids = tuple(self.tokenizer(marker, add_special_tokens=False)["input_ids"])
        for beside in _BESIDE:
            text = f"{beside}{marker}{beside}"
            if not contains(self.tokenizer(text, add_special_tokens=False)["input_ids"], ids):
                raise ConfigError(
                    f"{BUDGET}: the tokens of {marker!r} depend on what stands beside it, so an "
                    "engine cannot count those behind it; leave it out, or add the marker to the "
                    "tokenizer as a token of its own"
                )
        return ids

    @cached_property
    def thinking(self) -> Thinking:
        """The markers of the model's thoughts."""
        added = [str(token) for token in self.tokenizer.added_tokens_decoder.values()]
        return Thinking.of([str(self.tokenizer.chat_template), *added], self.markers)

    @cached_property
    def _unsaid(self) -> frozenset[int]:
        """Special tokens that are no text: all but pairs such as <answer> and </answer>, the
        markers of thoughts, and the channels of harmony."""
        added = self.tokenizer.added_tokens_decoder
        special = {str(token): id for id, token in added.items() if token.special}
        pairs = [(tag, closing(tag)) for tag in special if TAG.fullmatch(tag)]
        pairs = [pair for pair in pairs if pair[1] in special]
        said = {tag for pair in (*pairs, *self.thinking.pairs) for tag in pair}
        if self._has_channels:
            said |= set(HARMONY)
        return frozenset(id for tag, id in special.items() if tag not in said or id in self._ends)

    @cached_property
    def _calls(self) -> frozenset[int]:
        """Tokens that mark calls of tools."""
        added = self.tokenizer.added_tokens_decoder
        return frozenset(id for id, token in added.items() if str(token) in CALL_MARKS)

    @property
    def _has_channels(self) -> bool:
        """True where the model speaks in channels, as gpt-oss does."""
        added = self.tokenizer.added_tokens_decoder.values()
        return any(str(token) == HARMONY[0] and token.special for token in added)

    @property
    def _ends(self) -> frozenset[int]:
        """Ids of tokens with a role of their own, such as <s> and </s>."""
        names = ("bos_token", "eos_token", "pad_token", "unk_token", "sep_token", "cls_token")
        roles = [token for name in names if (token := getattr(self.tokenizer, name, None))]
        return frozenset([*self.stop_ids, *map(self.tokenizer.convert_tokens_to_ids, roles)])

    def check_lengths(
        self,
        prompts: Sequence[Prompt],
        max_completion_tokens: int,
        seen: Callable[[Sequence[int]], object] = len,
        setting: str = "rollout.max_completion_tokens",
    ) -> None:
        """Refuse prompts that leave no room for a full completion.

        Args:
            seen: told the token ids of each prompt, in order.
            setting: the one that `max_completion_tokens` is from, for messages.

        Raises:
            DataError: with the longest offender and the number of offenders; or a prompt would use
                up the budget of thoughts.
        """
        room, budget = self.max_context_tokens - max_completion_tokens, self.thought_budget
        long = []
        for prompt, ids in zip(prompts, self.encode_each(prompts), strict=True):
            seen(ids)
            if budget is not None and budget.is_begun_early(ids):
                raise DataError(
                    f"prompt {prompt.id!r} holds {budget.opening!r} without {budget.closing!r} "
                    "behind it, and an engine would count all that follows as a thought; take it "
                    f"out of the prompt, or leave {BUDGET} out"
                )
            if len(ids) > room:
                long.append((len(ids), prompt.id))
        if long:
            tokens, name = max(long)
            raise DataError(
                f"{len(long)} of {len(prompts)} prompts are too long: prompt {name!r} has {tokens} "
                f"tokens and max_completion_tokens={max_completion_tokens} more do not fit in the "
                f"context of {self.max_context_tokens}; shorten or drop them, or lower {setting}"
            )


def _alike(one: Encoder, other: Encoder, prompt: Prompt) -> bool:
    """True where a prompt reads the same to the model by both."""
    try:
        return one.rendering.whole(prompt) == other.rendering.whole(prompt)
    except DataError:  # one of them cannot do without the value
        return False
