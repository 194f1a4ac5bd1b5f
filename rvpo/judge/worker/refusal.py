"""What a server says when it refuses a call."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from typing import Any, Final, Self

LONGEST_DETAIL: Final = 200
"""Characters of a server's words that are shown."""

_SCHEMA: Final = re.compile(r"response_format|json_schema|guided_json|structured[ _]output", re.I)
_MEANINGS: Final = (
    (re.compile(r"rate.?limit|too.?many.?requests|throttl|resource_exhausted", re.I), 429),
    (re.compile(r"overloaded|unavailable|capacity", re.I), 503),
    (re.compile(r"server_error|internal|api_error|timeout", re.I), 500),
)
"""Codes and types of errors in words, and the status of each."""


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
    status: int | None = None
    """The HTTP status that the body means; None where it is no error or names none."""

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
        is_error = error is not value
        return cls(
            _text(message),
            frozenset(code for code in codes if isinstance(code, str)),
            next(filter(None, map(_status, codes)), None) if is_error else None,
        )

    @property
    def names_schema(self) -> bool:
        """Whether it speaks of the form that the reply was asked to have."""
        return _SCHEMA.search(self.message) is not None


def excerpt(text: str) -> str:
    """The beginning of a text as one printable line."""
    printable = "".join(c if c.isprintable() else " " for c in text)
    line = " ".join(printable.split())
    return line if len(line) <= LONGEST_DETAIL else line[: LONGEST_DETAIL - 1] + "…"


def _text(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def _status(code: Any) -> int | None:
    if isinstance(code, str) and not code.isdecimal():
        return next((status for words, status in _MEANINGS if words.search(code)), None)
    if isinstance(code, bool) or not isinstance(code, str | int):
        return None
    number = int(code) if len(str(code)) == 3 else 0
    return number if 400 <= number < 600 else None
