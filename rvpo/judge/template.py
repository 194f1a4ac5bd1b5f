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
_LONGEST_SHOWN: Final = 200
_LONGEST: Final = 2**20  # bytes: a larger file is another one


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
        where = f"{section}.template: '{str(judge.template)[:_LONGEST_SHOWN]}'"
        if "<<" in str(judge.template):
            raise ConfigError(
                f"{section}.template names a file, and a text is given; write it into a file, such "
                "as judge.txt, and give its path"
            )
        try:
            path = judge.template.expanduser()
            if path.exists() and not path.is_file():
                raise ConfigError(f"{where} is no file; give a text file")
            if path.stat().st_size > _LONGEST:
                raise ConfigError(f"{where} is larger than a megabyte; give a text file")
            text = path.read_bytes().decode("utf-8-sig")
        except (OSError, ValueError, RuntimeError) as error:
            raise ConfigError(
                f"{where} cannot be read ({_why(error)}); give a text file"
            ) from error
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


def _why(error: Exception) -> str:
    return (error.strerror if isinstance(error, OSError) else None) or str(error)


def _listed(names: list[str]) -> str:
    return ", ".join(f"<<{name}>>" for name in names)
