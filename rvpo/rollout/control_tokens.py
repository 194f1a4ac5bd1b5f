"""Control tokens of a model, and their spelling in texts that are none of the model's.

A user who writes "<|im_end|>" has not ended a turn. A tokenizer cannot know: what the chat template
writes and what it copies from a message are one text by then. So

* before the template, the spelling of a control token in a message is marked;
* behind it, the control tokens that are not marked are the template's own, and get other names;
* the marks are taken out, and a copy of the tokenizer that knows control tokens by those names
  alone reads the text.

Prompts without such a spelling, almost all, are read by the tokenizer itself.
"""

from __future__ import annotations

import json
import re
import secrets
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Final

from rvpo.errors import DataError
from rvpo.thinking import closing

TAG: Final = re.compile(r"<[A-Za-z][\w:-]*>|\[[A-Za-z][\w:-]*\]")
"""A token that is the opening half of a pair, if there is the other one."""
_SHAPE: Final = re.compile(r"[<\[{◁][^\s].*[>\]}▷]", re.DOTALL)
"""Brackets, in which all control tokens stand: of a mark that is a word as well, such as "!" for
padding, a text must keep the use."""
_BARRED: Final = re.compile(r"<[|\uff5c].+>|<.+[|\uff5c]>")
_NONCE: Final = str(secrets.randbits(64))
"""Digits that no text holds by design: they stay as they are in JSON and in capitals."""
_MARK: Final = re.compile(rf"~{_NONCE}~(\d+)~")


@dataclass(frozen=True)
class ControlTokens:
    """The control tokens of a model.

    Args:
        tokenizer: the model's.
        spellings: token ids by the texts that the tokenizer takes for control tokens.
    """

    tokenizer: Any
    spellings: Mapping[str, int]

    @staticmethod
    def of(tokenizer: Any, ends: Collection[int], thoughts: Collection[str]) -> ControlTokens:
        """The control tokens that a tokenizer reads.

        They are its special tokens, and what the chat template writes in bars; not the tags of
        pairs such as <answer> and </answer>, unless the template writes them, nor <think>: prompts
        tell models to write these.

        Args:
            ends: ids of tokens with a role of their own, such as those that end a turn.
            thoughts: markers of the model's thoughts.
        """
        added = {str(token): (id, token) for id, token in tokenizer.added_tokens_decoder.items()}
        template = str(tokenizer.chat_template)
        own = {text for text, (id, _) in added.items() if id in ends or text in template}

        def is_control(text: str, special: bool) -> bool:
            pair = _pair(text)
            if pair <= added.keys():
                is_thought = bool(pair & set(thoughts))
                return special and not is_thought and bool(pair & own)
            return special or (text in own and _BARRED.fullmatch(text) is not None)

        return ControlTokens(
            tokenizer,
            {
                text: id
                for text, (id, token) in added.items()
                if _SHAPE.fullmatch(text) and (id in ends or is_control(text, token.special))
            },
        )

    def marked(self, value: Any) -> Any:
        """Text with every control token marked, or lists and tables with such texts."""
        if isinstance(value, str):
            return self._marked(value)
        if isinstance(value, Mapping):
            return {name: self.marked(item) for name, item in value.items()}
        if isinstance(value, list | tuple):
            return [self.marked(item) for item in value]
        return value

    def found(self, values: Iterable[Any]) -> str | None:
        """The first control token that is spelt in texts, lists or tables; None without any."""
        for value in values:
            if isinstance(value, str):
                first = self._spelt.search(value) if self._may_hold(value) else None
                if first is not None:
                    return first["token"]
            elif isinstance(value, Mapping | list | tuple):
                inside = value.values() if isinstance(value, Mapping) else value
                if (token := self.found(inside)) is not None:
                    return token
        return None

    def ids(self, text: str) -> list[int]:
        """[T] token ids of a rendered text in which marked spellings are text.

        Raises:
            DataError: the tokenizer has no copy that could tell.
        """
        named = self._spelt.sub(lambda found: self._named(found["token"]), text)
        ids: list[int] = self._copy.encode(without_marks(named), add_special_tokens=False).ids
        return ids

    def _marked(self, text: str) -> str:
        if not self._may_hold(text):
            return text
        return self._begun.sub(lambda found: f"~{_NONCE}~{ord(found[1])}~", text)

    def _may_hold(self, text: str) -> bool:
        """False for almost every text without; some models have thousands of control tokens."""
        return any(begins in text for begins in self._beginnings)

    @cached_property
    def _beginnings(self) -> frozenset[str]:
        return frozenset(spelling[:3] for spelling in self.spellings)

    def _named(self, spelling: str) -> str:
        return f"~{_NONCE}:{self.spellings[spelling]}~"

    @cached_property
    def _spelt(self) -> re.Pattern[str]:
        return re.compile(f"(?P<token>{self._any})")

    @cached_property
    def _begun(self) -> re.Pattern[str]:
        """The first letter of every spelling, of those too that overlap."""
        return re.compile(f"(?={self._any})(.)", re.DOTALL)

    @property
    def _any(self) -> str:
        longest_first = sorted(self.spellings, key=len, reverse=True)
        return "|".join(map(re.escape, longest_first)) or r"(?!)"

    @cached_property
    def _copy(self) -> Any:
        """The tokenizer, with other names for its control tokens."""
        from tokenizers import Tokenizer

        if not getattr(self.tokenizer, "is_fast", False):
            raise DataError("the model's tokenizer is not a fast one, and cannot read them as text")
        state = json.loads(self.tokenizer.backend_tokenizer.to_str())
        names = {spelling: self._named(spelling) for spelling in self.spellings}
        for token in state["added_tokens"]:
            token["content"] = names.get(token["content"], token["content"])
        _rename(state["model"], names)
        state.update(post_processor=None, truncation=None, padding=None)
        copy = Tokenizer.from_str(json.dumps(state))
        for spelling, name in names.items():
            if copy.token_to_id(name) != self.spellings[spelling]:
                raise DataError(f"the model's tokenizer cannot read {spelling!r} as text")
        return copy


def without_marks(text: str) -> str:
    """A rendered text as it was written."""
    return _MARK.sub(lambda found: chr(int(found[1])), text)


def is_marked(text: str) -> bool:
    """True where a rendered text has a spelling of a control token that is text."""
    return f"~{_NONCE}~" in text


def _pair(text: str) -> set[str]:
    """Both tags of the pair that a tag is of; of another token, what no tokenizer has."""
    opening = text.replace("/", "", 1)
    return {opening, closing(opening)} if TAG.fullmatch(opening) else {"", text}


def _rename(model: dict[str, Any], names: Mapping[str, str]) -> None:
    """Rename pieces of a tokenizer's vocabulary, in which control tokens may stand as well."""
    vocabulary = model.get("vocab")
    if isinstance(vocabulary, dict):
        for spelling in names.keys() & vocabulary.keys():
            vocabulary[names[spelling]] = vocabulary.pop(spelling)
    elif isinstance(vocabulary, list):  # of pieces with their scores
        model["vocab"] = [[names.get(piece, piece), score] for piece, score in vocabulary]
    if model.get("unk_token") in names:
        model["unk_token"] = names[model["unk_token"]]
