"""The end of a completion: only an end that is known to be one of an answer leaves it an answer."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final, Self

_WHOLE: Final = frozenset(
    """
    none null stop stopped stop_sequence stop_token eos eos_token end_turn end_of_turn end complete
    completed done finished success
    """.split()  # noqa: SIM905
)
_CUT: Final = frozenset(
    """
    length max_tokens max_length max_output_tokens max_completion_tokens model_length token_limit
    truncated model_context_window_exceeded
    """.split()  # noqa: SIM905
)
_FAILED: Final = re.compile(
    r"err|abort|cancel|fail|interrupt|resource|overload|time.?d?.?out|unavailable|network|load"
)
_PREFIX: Final = re.compile(r"^finish_?reason[._]?")
_NAME: Final = re.compile(r"[\w.-]{1,40}", re.ASCII)

_VERDICTS: Final = frozenset(("filtered", "blocked", "flagged", "censored", "moderated"))
_REASONS: Final = frozenset(("block_reason", "blockreason"))
_OTHER_ENDS: Final = ("native_finish_reason", "stop_reason", "status")
_TAKEN_BACK: Final = re.compile(
    r"filter|safety|block|recitation|sensitive|refus|prohibited|moderat|incomplete|"
    + _FAILED.pattern
)
_NOT_SAID: Final = frozenset(("message", "logprobs", "usage"))
_MOST_PARTS: Final = 10_000


@dataclass(frozen=True, slots=True)
class Finish:
    """The end of a completion."""

    reason: str
    """Reason of the end in a few words that repeat; empty where it is an answer's."""
    cut: bool = False
    """True where the end is the token limit."""
    failed: bool = False
    """True where the end is a fault of the server, which may pass."""

    @property
    def completed(self) -> bool:
        """True where it is the end of an answer, whole or cut."""
        return not self.reason

    @classmethod
    def read(cls, reply: Mapping[str, Any], choice: Mapping[str, Any]) -> Self:
        """Read the end from a reply and its only choice."""
        if any(_filters(reply)):
            return cls("filtered")
        said = choice.get("finish_reason")
        end = _word(said)
        whole = said is None or (isinstance(said, str) and end in {"", *_WHOLE, *_CUT})
        if not whole:
            name = said if isinstance(said, str) and _NAME.fullmatch(said) else "unknown"
            return cls(f"finish reason {name}", failed=_FAILED.search(end) is not None)
        is_cut = end in _CUT
        for part in (choice, reply):
            for name in _OTHER_ENDS:
                other = part.get(name)
                if isinstance(other, str) and _TAKEN_BACK.search(_word(other)):
                    told = other if _NAME.fullmatch(other) else "unknown"
                    return cls(f"{name} {told}", failed=_FAILED.search(_word(other)) is not None)
                is_cut |= _word(other) in _CUT
        return cls("", cut=is_cut)


def _word(said: Any) -> str:
    """A reason without the habits of spelling it."""
    text = re.sub(r"[\s-]+", "_", said.strip().casefold()) if isinstance(said, str) else ""
    return _PREFIX.sub("", text)


def _filters(reply: Mapping[str, Any]) -> Iterator[bool]:
    """Filters that a reply tells of, each True where it took something away."""
    left: list[Any] = [reply]
    for _ in range(_MOST_PARTS):
        if not left:
            return
        part = left.pop()
        if isinstance(part, list):
            left += part
        elif isinstance(part, Mapping):
            for key, value in part.items():
                name = key.casefold()
                yield name in _VERDICTS and value is True
                yield name in _REASONS and bool(value)
                if name not in _NOT_SAID:
                    left.append(value)
