r"""The letter that a response chose.

Two readings. `simple_evals` is the reference's own, to the letter: the first `Answer: X`, where X
need not be a word, so that "Answer: Because" is B, and `**Answer:** B`, `Answer: (B)` and
`\boxed{B}` are nothing. `robust` reads those, and takes the last choice that a response states.
"""

from __future__ import annotations

import re
from typing import Final

LETTERS: Final = "ABCD"

_REFERENCE: Final = re.compile(r"(?i)Answer[ \t]*:[ \t]*\$?([A-D])\$?")

# A small letter is a choice where nothing follows it on its line: "a" is a word as well.
_LETTER: Final = r"(?<![A-Za-z])([A-D]|[a-d](?=[\s*_$`)\]}.]*?(?:\n|\Z)))(?![A-Za-z0-9'\u2019])"
_DECORATION: Final = r"(?:[\s*_$`(\[{]|\\\(|\\\[|\\boxed|\\text(?:bf|rm)?|\\mathrm|\\mathbf)*"
_STATED: Final = re.compile(
    rf"""
      (?i:\b(?:answer|choice|option)\b)[\s*_`]*(?:(?i:is|would\s+be|must\s+be)\b)?[\s*_`]*[:=]?
        {_DECORATION}{_LETTER}
    | \\boxed\s*\{{{_DECORATION}{_LETTER}
    | ^[ \t]*{_DECORATION}{_LETTER}[\s*_$`)\]}}.]*\Z
    """,
    re.VERBOSE | re.MULTILINE,
)
_ANOTHER: Final = re.compile(r"[\s*_$`)\]}.]*(?:,|/|\b(?:or|and)\b|&)[\s*_$`(\[{]*[A-D]\b")


def simple_evals(text: str) -> str | None:
    """The letter by the reference's expression, or None (openai/simple-evals, gpqa_eval.py)."""
    match = _REFERENCE.search(text)
    return None if match is None else match[1].upper()


def robust(text: str) -> str | None:
    """The last letter that is stated as a choice; None where there is none, or that statement
    names several."""
    found = None
    for match in _STATED.finditer(text.rstrip()):
        letter = next(group for group in match.groups() if group is not None)
        found = None if _ANOTHER.match(text, match.end()) else letter.upper()
    return found


EXTRACTORS: Final = {"simple_evals": simple_evals, "robust": robust}
