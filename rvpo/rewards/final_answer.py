r"""The answer in a completion, by which samples that say the same are counted.

It is read, in this order, from the last \boxed{...}, the last <answer>...</answer>, the last line
that begins with #### and has a number, the last line such as "Answer: 12" or that says "the answer
is 12", which may go on in the line below and with other sentences behind a number, or else it is
the whole text. Numbers are equal however they are written, such as 1,200.0, $1200 and \(1200\), and
so are the common units behind them: 12 cm is 12 centimeters, and not 12 m. A number without a unit
is that with one where all samples of its prompt that have a unit behind this number name the same.
An option is its letter, in brackets or not; of other texts white space, small and capital letters
and a full stop at the end do not matter.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from decimal import Context, Decimal
from itertools import pairwise
from typing import Any, Final

from rvpo.errors import RewardError
from rvpo.runtime.imports import import_function

AnswersOf = Callable[[Sequence[str]], list[str | None]]
"""Gives, for the texts of one prompt's answers, what each of them answers: the same text where they
say the same; None where that is nothing."""

_BRACES: Final = re.compile(r"\\(?:boxed|fbox)\s*\{|\\?[{}]")
_TAGS: Final = re.compile(r"<(/?)answer>", re.IGNORECASE)
_HASHES: Final = re.compile(r"^[ \t]*####[ \t]*([^#\n\d]*\d.*)$", re.MULTILINE)
_LINE: Final = re.compile(
    r"(?:^[^\w\n]{0,8}(?:the )?(?:final |correct )?answer[*_ \t]{0,4}:|\banswer is:?)"
    r"[*_ \t]{0,4}(?:[ \t]*\n){0,2}[ \t]{0,8}(\S.*)$",
    re.MULTILINE | re.IGNORECASE,
)
_NUMBER: Final = re.compile(r"[-+]?(?:\d{1,3}(?:,\d{3})+|\d+)?(?:\.\d+)?")
_AROUND: Final = " \t\r\n*_`\"'$"
_DEEPEST: Final = 8
_WRAPPED: Final = re.compile(
    r"\\\((.*)\\\)|\\\[(.*)\\\]|"
    r"\\(?:boxed|fbox|text|textbf|mathrm|mathbf)\s*\{([^{}]*)\}|"
    r"[(\[]\s*([a-zA-Z])\s*[)\]]|\(\s*([-+$\d.]+)\s*\)|([a-zA-Z])\)",
    re.DOTALL,
)
"""Signs of mathematics, or brackets of an option or a number, and what is between them."""
_SEPARATOR: Final = re.compile(r"(?<=\d)(?:\{,\}|\\[,!]|[\u00a0\u2009\u202f])(?=\d{3}(?!\d))")
_UNITS: Final = {
    "percent": r"\\?%|percent",
    "degree": r"\^\s*\{?\\circ\}?|°|degrees?",
    "dollar": r"dollars?",
    "euro": r"euros?",
    "cent": r"cents?",
    "kmh": r"km/h",
    "mph": r"mph",
    "km": r"km|kilomet(?:er|re)s?",
    "cm": r"cm|centimet(?:er|re)s?",
    "mm": r"mm|millimet(?:er|re)s?",
    "m": r"m|met(?:er|re)s?",
    "mile": r"miles?",
    "foot": r"feet|foot|ft",
    "inch": r"inch(?:es)?",
    "kg": r"kg|kilograms?",
    "mg": r"mg|milligrams?",
    "g": r"g|grams?",
    "pound": r"pounds?|lbs?",
    "liter": r"lit(?:er|re)s?",
    "ml": r"ml|millilit(?:er|re)s?",
    "second": r"seconds?",
    "minute": r"minutes?|min",
    "hour": r"hours?",
    "day": r"days?",
    "week": r"weeks?",
    "month": r"months?",
    "year": r"years?",
    "unit": r"units?",
}
"""Common units, by the one name that all of their spellings get."""
_UNIT: Final = re.compile(
    r"(?<=[\d.])[\s~]*(?:\\[ ,])?\s*(?:\\(?:text|mathrm)\s*\{\s*)?(?:"
    + "|".join(f"(?P<{name}>{spellings})" for name, spellings in _UNITS.items())
    + r")(?:\s*\})?$",
    re.IGNORECASE,
)
"""Unit behind a number."""
_LONGEST_NUMBER: Final = 100
_EXACT: Final = Context(prec=2 * _LONGEST_NUMBER)


def final_answers(texts: Sequence[str]) -> list[str | None]:
    """Meanings of the answers to one prompt; see the module. None where there is nothing at all."""
    found = [final_answer(text) for text in texts]
    units: dict[str, set[str]] = {}
    for answer in filter(None, found):
        number, _, unit = answer.partition(" ")
        if unit in _UNITS:
            units.setdefault(number, set()).add(answer)
    only = {number: spelt.pop() for number, spelt in units.items() if len(spelt) == 1}
    return [None if answer is None else only.get(answer, answer) for answer in found]


def final_answer(text: str) -> str | None:
    """Meaning of an answer for itself alone, a number with the unit that it has."""
    found = next((answer for answer in _stated(text) if answer is not None), text)
    return _plain(found) or None


def _stated(text: str) -> Iterator[str | None]:
    yield _last_box(text)
    yield _last_tagged(text)
    yield next(reversed(_HASHES.findall(text)), None)
    line = next(reversed(_LINE.findall(text)), None)
    yield None if line is None else _first_sentence(line)


def _first_sentence(line: str) -> str:
    """Text before a sentence's end, where that is a number: texts have full stops inside."""
    first, stop, _ = line.partition(". ")
    return first if stop and _number(_bare(first)) is not None else line


def _last_box(text: str) -> str | None:
    """The inside of the box that ends last, which may hold braces and other boxes."""
    found: str | None = None
    open_braces: list[re.Match[str]] = []
    for brace in _BRACES.finditer(text):
        if brace[0] == "}" and open_braces:
            opening = open_braces.pop()
            if opening[0] != "{":
                found = text[opening.end() : brace.start()]
        elif brace[0] == "{" or len(brace[0]) > len("\\{"):
            open_braces.append(brace)
    return found


def _last_tagged(text: str) -> str | None:
    found = None
    for first, second in pairwise(_TAGS.finditer(text)):
        if not first[1] and second[1]:
            found = text[first.end() : second.start()]
    return found


def _plain(answer: str) -> str:
    """The answer in the one form that all of its spellings have."""
    bare = _bare(answer)
    number = _number(bare)
    return number if number is not None else " ".join(bare.casefold().split())


def _bare(answer: str) -> str:
    """The answer without what is put around it, and with one sign for minus."""
    bare = answer.replace("\N{MINUS SIGN}", "-")
    for _ in range(_DEEPEST):
        bare = bare.strip(_AROUND).removesuffix(".").strip(_AROUND)
        wrapped = _WRAPPED.fullmatch(bare)
        if wrapped is None:
            break
        bare = next(each for each in wrapped.groups() if each is not None)
    return bare


def _number(bare: str) -> str | None:
    """A number in its one spelling, and that of its unit; None for any other text."""
    if len(bare) > 2 * _LONGEST_NUMBER or not any(map(str.isdigit, bare)):
        return None
    unit = _UNIT.search(bare)
    plain = _SEPARATOR.sub(",", (bare if unit is None else bare[: unit.start()]).strip(_AROUND))
    sign = plain[:1] if plain[:1] in ("-", "+") else ""
    plain = sign + plain.removeprefix(sign).lstrip(" \\$")
    if len(plain) > _LONGEST_NUMBER or not _NUMBER.fullmatch(plain):
        return None
    number = f"{_EXACT.plus(Decimal(plain.replace(',', '')).normalize(_EXACT)):f}"
    return number if unit is None else f"{number} {unit.lastgroup}"


def answers_function(path: str | None, where: str) -> AnswersOf:
    """The function of a text that settings name, for all answers to a prompt, or `final_answers`.

    What theirs gives is checked: a text, a number or None.

    Raises:
        ConfigError: there is no such function.
    """
    if path is None:
        return final_answers
    function = import_function(path, where)

    def answer(text: str) -> str | None:
        try:
            found: Any = function(text)
        except Exception as error:  # the user's code, which can raise anything
            raise RewardError(
                f"{where}: {path} fails on {text!r:.80}: {type(error).__name__}: {error}"
            ) from error
        if found is not None and not isinstance(found, str | int | float):
            raise RewardError(
                f"{where}: {path} must return a text, a number or None, got {found!r:.80}"
            )
        return None if found is None else str(found)

    return lambda texts: [answer(text) for text in texts]
