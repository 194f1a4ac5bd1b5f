"""The name under which servers know a version of a run's weights."""

from __future__ import annotations

import re
import secrets
from dataclasses import dataclass
from typing import Any, Final

_LABEL: Final = re.compile(r"([0-9a-f]{8})-([0-9]{1,18})")


@dataclass(frozen=True, slots=True)
class RunLabel:
    """One start of a run, as servers are told of it: two runs count their versions alike, and each
    trains on samples of its own weights alone."""

    run: str
    """8 hexadecimal digits."""

    @staticmethod
    def drawn() -> RunLabel:
        """One that no other run has."""
        return RunLabel(secrets.token_hex(4))

    def of(self, version: int) -> str:
        """The name of a version, such as `3f09a1c2-6`."""
        return f"{self.run}-{version}"

    def read(self, text: Any) -> int | None:
        """The version of a name that this run gave; None for any other value."""
        match = _match(text)
        return int(match[2]) if match is not None and match[1] == self.run else None

    def is_foreign(self, text: Any) -> bool:
        """True for a name that another run gave."""
        match = _match(text)
        return match is not None and match[1] != self.run

    def told(self, text: str) -> str:
        """A server's version in the words of a sentence."""
        return f"version {text!r}" + (", from another run" if self.is_foreign(text) else "")


def _match(text: Any) -> re.Match[str] | None:
    return _LABEL.fullmatch(text) if isinstance(text, str) else None
