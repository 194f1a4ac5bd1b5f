"""What a server says when it refuses a call."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any, Final, Self

LONGEST_DETAIL: Final = 200
"""Characters of a server's words that are shown."""


@dataclass(frozen=True, slots=True)
class Failure:
    """Why a call has no usable reply."""

    reason: str
    """In a few words that repeat: they are counted."""
    detail: str = ""
    """What the server said, as `Answer.detail`."""


@dataclass(frozen=True, slots=True)
class Refusal:
    """The body of a reply that is an error."""

    message: str
    """OpenAI's `error.message`, its likes of other servers, or else the whole text."""
    codes: frozenset[str] = frozenset()
    """OpenAI's `error.code` and `error.type`."""

    @classmethod
    def read(cls, body: bytes) -> Self:
        """Of a body of any kind, also one that is not whole."""
        try:
            value = json.loads(body)
        except (ValueError, RecursionError):
            return cls(body.decode("utf-8", "replace"))
        error = value.get("error", value) if isinstance(value, dict) else value
        if not isinstance(error, dict):
            return cls(_text(error))
        codes = (error.get("code"), error.get("type"))
        message = error.get("message") or error.get("detail") or value
        return cls(_text(message), frozenset(code for code in codes if isinstance(code, str)))


def excerpt(text: str) -> str:
    """The beginning of a text as one printable line."""
    printable = "".join(c if c.isprintable() else " " for c in text)
    line = " ".join(printable.split())
    return line if len(line) <= LONGEST_DETAIL else line[: LONGEST_DETAIL - 1] + "…"


def _text(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
