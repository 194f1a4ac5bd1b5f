"""The user's own wording of the judge's question: a file with placeholders."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final, Self

from rvpo.config.judge import JudgeConfig
from rvpo.config.judges import OWN
from rvpo.errors import ConfigError, nearest

REQUIRED: Final = ("response", "criterion")
OPTIONAL: Final = ("conversation", "reference")

_PLACE: Final = re.compile(r"<<([^<>\n]{1,64})>>")
_LONGEST: Final = 2**20  # characters: a longer file is another one


@dataclass(frozen=True)
class JudgeTemplate:
    """A text with places for what is judged.

    Raises:
        ConfigError: it has an unknown placeholder, or lacks one.
    """

    text: str
    where: str = "judge.template"
    """The setting and the file, for messages."""

    def __post_init__(self) -> None:
        known = [*REQUIRED, *OPTIONAL]
        found = set(_PLACE.findall(self.text))
        for name in sorted(found - set(known)):
            guess = nearest(name, known)
            meant = f"did you mean <<{guess}>>?" if guess else f"there are {_listed(known)}"
            raise ConfigError(f"{self.where}: there is no placeholder <<{name}>>; {meant}")
        for name in REQUIRED:
            if name not in found:
                raise ConfigError(
                    f"{self.where} has no <<{name}>>; put it where the {name} is to stand "
                    f"(there are {_listed(known)})"
                )

    @classmethod
    def of(cls, judge: JudgeConfig, section: str = OWN) -> Self | None:
        """The template of a judge; None where it is asked in our words.

        Args:
            section: the judge's settings, for messages.

        Raises:
            ConfigError: the file cannot be read, has an unknown placeholder, or lacks one.
        """
        if judge.template is None:
            return None
        where = f"{section}.template: '{judge.template}'"
        try:
            text = judge.template.expanduser().read_bytes().decode("utf-8-sig")
        except (OSError, ValueError) as error:
            raise ConfigError(f"{where} cannot be read ({error}); give a text file") from error
        if len(text) > _LONGEST:
            raise ConfigError(
                f"{where} has {len(text):,} characters; a template has at most {_LONGEST:,}"
            )
        return cls(text.replace("\r\n", "\n").strip("\n"), where)

    @property
    def has_reference(self) -> bool:
        """True where it shows a reference answer."""
        return "<<reference>>" in self.text

    @property
    def sha256(self) -> str:
        """SHA-256 of the text in hexadecimal."""
        return hashlib.sha256(self.text.encode()).hexdigest()

    def filled(self, blocks: Mapping[str, str]) -> str:
        """The text with every place filled, all in one pass: a block that holds the name of a
        place stays as it is. Each block gets lines of its own."""

        def block(place: re.Match[str]) -> str:
            start, end = place.span()
            before = "" if start == 0 or self.text[start - 1] == "\n" else "\n"
            after = "" if end == len(self.text) or self.text[end] == "\n" else "\n"
            return f"{before}{blocks[place[1]]}{after}"

        return _PLACE.sub(block, self.text)


def _listed(names: list[str]) -> str:
    return ", ".join(f"<<{name}>>" for name in names)
