"""Signs in doubt: what becomes of them, and what a judge told of them."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, get_args

from rvpo.criterion import Polarity
from rvpo.errors import DataError
from rvpo.files.json_file import json_lines
from rvpo.rubrics.overlap import normalized
from rvpo.rubrics.sign import DOUBTFUL_POLARITY, Doubtful

_AGAINST: Mapping[Doubtful, Polarity | None] = {
    "drop": None,
    "keep": "positive",
    "flip": "negative",
}
_FORM = "`rvpo judge --config FILE --signs FILE` writes such lines"


@dataclass(frozen=True, slots=True)
class UnclearSign:
    """A criterion whose sign nothing told, or whose points and wording disagree."""

    question: str
    """The prompt that it belongs to, as text."""
    text: str
    others: tuple[str, ...] = ()
    """Further wishes of its rubric."""

    @property
    def key(self) -> str:
        """Name of the criterion, the same for every copy of its data."""
        text = f"{normalized(self.question)}\n{normalized(self.text)}"
        return hashlib.sha256(text.encode(errors="surrogatepass")).hexdigest()[:16]

    def to_json(self, polarity: Polarity | None, reason: str) -> dict[str, Any]:
        """A line of a file of signs.

        Args:
            polarity: the one that was told; None where it still is not clear.
            reason: the teller's words.
        """
        fields = {name: value for name, value in asdict(self).items() if name != "others"}
        return {"key": self.key, **fields, "polarity": polarity, "reason": reason}


@dataclass(frozen=True, slots=True)
class Doubt:
    """Treatment of signs in doubt."""

    treatment: Doubtful = "drop"
    known: Mapping[str, Polarity] = field(default_factory=dict)
    """Signs that were told, by the key of their criteria; they go before the treatment."""

    def untold(self, is_wanted: bool = False) -> Polarity | None:
        """The polarity of a criterion of which nobody told; None leaves it out.

        Args:
            is_wanted: True where its points are above 0, and its wording blames.
        """
        return _AGAINST[self.treatment] if is_wanted else DOUBTFUL_POLARITY[self.treatment]


def read_signs(path: str) -> dict[str, Polarity]:
    """The signs of a file, by the keys of their criteria. Lines that tell none are passed over.

    Raises:
        DataError: the file cannot be read, or a line is none of them.
    """
    found: dict[str, Polarity] = {}
    try:
        with Path(path).expanduser().open("rb") as file:
            for number, line in json_lines(file, f"signs: '{path}'", _FORM):
                key, polarity = line.get("key"), line.get("polarity")
                if not isinstance(key, str) or polarity not in (None, *get_args(Polarity)):
                    raise DataError(
                        f"signs: '{path}', line {number}: needs a `key`, and a `polarity` that is "
                        f"positive, negative or null; {_FORM}"
                    )
                if polarity is not None:
                    found[key] = polarity
    except OSError as error:
        raise DataError(f"signs: '{path}' cannot be read ({error.strerror}); {_FORM}") from error
    return found
