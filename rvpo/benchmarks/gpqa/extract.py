r"""The letter that a response chose.

Two readings. `simple_evals` is the reference's own, to the letter: the first `Answer: X`, where X
need not be a word, so that "Answer: Because" is B, and `**Answer:** B`, `Answer: (B)` and
`\boxed{B}` are nothing. `robust` reads those. Of several statements it takes the last of the
plainest kind: what is called the answer or boxed, before an option that is called the right one,
before a letter alone on the last line. What a response says of other options is no statement.
"""

from __future__ import annotations

import re
from typing import Final

LETTERS: Final = "ABCD"

_REFERENCE: Final = re.compile(r"(?i)Answer[ \t]*:[ \t]*\$?([A-D])\$?")

# A small letter is a choice where nothing follows it on its line: "a" is a word as well, and so is
# "A" before another word, unless that gives the reason.
_LETTER: Final = (
    r"(?<![A-Za-z])"
    r"(?!A\s+(?!(?:and|as|because|but|by|due|for|is|or|since|which|with)\b)[a-z])"
    r"([A-D]|[a-d](?=[\s*_$`\"'>)\]}.]*?(?:\n|\Z)))(?![A-Za-z0-9]|['\u2019][A-Za-z])"
)
_DECORATION: Final = (
    r"(?:[\s*_$`\"'\u2018\u201c<(\[{]|\\\(|\\\["
    r"|\\text(?:bf|rm)?|\\mathrm|\\mathbf)*+"
)
_IS: Final = rf"""
    [\s*_`]*+(?i:(?:is|would\s+be|must\s+be|should\s+be)\b)?[\s*_`]*+[:=\uff1a\u2013\u2014-]?
    [\s*_`]*+(?i:(?:clearly|hence|likely|most\s+likely|probably|therefore|thus)\b)?,?
    [\s*_`]*+(?i:(?:option|choice|letter)\b)?{_DECORATION}{_LETTER}
"""
_KINDS: Final = tuple(
    re.compile(pattern, re.VERBOSE)
    for pattern in (
        rf"(?i:\banswer\b){_IS} | \\f?box(?:ed)?\s*+\{{{_DECORATION}{_LETTER}",
        rf"""
            (?i:\b(?:best|correct|final|right)\s+(?:choice|letter|option)\b){_IS}
          | (?i:\b(?:choice|option)){_DECORATION}{_LETTER}[\s*_$`)\]}}.]*
            (?i:is\s+(?:the\s+)?(?:answer|best|correct|right)\b)
          | (?i:\b(?:choose|go\s+with|pick|select)\b)\s+(?i:(?:choice|option)\b)?
            {_DECORATION}{_LETTER}
        """,
    )
)
"""Statements, the plainest first."""
_ALONE: Final = re.compile(
    rf"(?i:(?:choice|option)\b)?{_DECORATION}{_LETTER}[\s*_$`\"'>)\]}}.]*", re.VERBOSE
)
_ANOTHER: Final = re.compile(r"[\s*_$`)\]}.]*(?:,|/|\b(?:or|and)\b|&)[\s*_$`(\[{]*[A-D]\b")


def simple_evals(text: str) -> str | None:
    """The letter by the reference's expression, or None (openai/simple-evals, gpqa_eval.py)."""
    match = _REFERENCE.search(text)
    return None if match is None else match[1].upper()


def robust(text: str) -> str | None:
    """The last letter of the plainest kind of statement; None where there is none, or that
    statement names several."""
    for statement in _KINDS:
        matches = list(statement.finditer(text))
        if matches:
            letter = next(group for group in matches[-1].groups() if group is not None)
            return None if _ANOTHER.match(text, matches[-1].end()) else letter.upper()
    alone = _ALONE.fullmatch(text.rstrip().rpartition("\n")[2])
    return None if alone is None else alone[1].upper()


EXTRACTORS: Final = {"simple_evals": simple_evals, "robust": robust}
