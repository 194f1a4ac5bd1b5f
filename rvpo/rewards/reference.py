"""A reference answer, as a row of the data holds it."""

from __future__ import annotations

import math
import unicodedata
from typing import Any, Final

_BLANK_LETTERS: Final = "\u034f\u115f\u1160\u17b4\u17b5\u2800\u3164\uffa0"
"""Characters that show nothing, and that Unicode counts as letters, marks or symbols."""


def answer_in(value: Any) -> str:
    """The text of an answer; empty where there is none to see.

    Args:
        value: cell of a column; NaN, which tables write for what is missing, is no answer, and
            neither is infinity or text of white space and invisible characters alone.
    """
    if isinstance(value, float) and not math.isfinite(value):
        return ""
    text = str(value) if isinstance(value, str | int | float) else ""
    return text if any(map(_is_visible, text)) else ""


def _is_visible(character: str) -> bool:
    # Controls, formats such as a zero-width space, and separators; selectors of a variant.
    kind = unicodedata.category(character)
    is_selector = "\ufe00" <= character <= "\ufe0f" or "\U000e0100" <= character <= "\U000e01ef"
    seen = kind not in ("Cc", "Cf") and kind[0] != "Z"
    return seen and character not in _BLANK_LETTERS and not is_selector
