"""What looks like a secret, and so must be neither stored nor shown."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any, Final

_VALUE: Final = re.compile(
    r"""
    (?<![A-Za-z0-9])(?:
        (?:sk|pplx|xai)-[\w*.-]{8,}       # dots and stars: servers repeat keys with a part hidden
      | (?:sk|gsk|hf|r8)_[A-Za-z0-9]{16,}
    )
    | Bearer\s+\S+
    """,
    re.VERBOSE,
)
_NAME: Final = re.compile(
    r"""
    .*_?api_?key | (?:.*_)?(?:access|private)_?key
    | (?:(?:access|api|auth|bearer|refresh|session)_?)?token | .*secret(?:_?key)?
    | .*(?:password|passwd) | pwd | (?:.*_)?authorization | auth | (?:.*_)?credentials?
    """,
    re.VERBOSE,
)
_KEY: Final = re.compile(
    r"(?<![A-Za-z0-9])(?:(?:sk|pplx|xai)-|(?:sk|gsk|hf|r8)_)(?=[\w-]*\d)[\w-]{16,}"
)


def places_of_keys(value: Any, place: str = "") -> Iterator[str]:
    """Where in settings a text stands that is an API key by its form, as in `judge.model`."""
    match value:
        case str() if _KEY.search(value):
            yield place
        case dict():
            for name, entry in value.items():
                yield from places_of_keys(entry, f"{place}.{name}".lstrip("."))
        case list() | tuple():
            for number, entry in enumerate(value):
                yield from places_of_keys(entry, f"{place}[{number}]")


def masked(text: str) -> str:
    """The text with everything replaced that looks like a key."""
    return _VALUE.sub("[key]", text)


def holds_secret(value: Any) -> bool:
    """Whether text, or a table or list at any depth, holds what looks like a key or is named so.

    `api_key`, `password` and `token` are such names; `max_tokens` and `stop_token_ids` are none.
    """
    match value:
        case str():
            return _VALUE.search(value) is not None
        case dict():
            return any(
                _is_secret_name(name) or holds_secret(name) or holds_secret(entry)
                for name, entry in value.items()
            )
        case list() | tuple():
            return any(map(holds_secret, value))
        case _:
            return False


def _is_secret_name(name: Any) -> bool:
    return isinstance(name, str) and _NAME.fullmatch(name.lower().replace("-", "_")) is not None
