r"""The answer in a completion, by which samples that say the same are counted.

It is read, in this order, from the last \boxed{...}, the last <answer>...</answer>, the last line
that begins with #### and has a number, the last line such as "Answer: 12" or that says "the answer
is 12", which may go on in the line below and with other sentences behind a number, or else it is
the whole text. Numbers are equal however they are written, such as 1,200.0, $1200, \(1200\) and
1200 dollars: a unit behind one is left out, for samples that answer one prompt mean the same. An
option is its letter, in brackets or not; of other texts white space, small and capital letters and
a full stop at the end do not matter.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from decimal import Context, Decimal
from itertools import pairwise
from typing import Any, Final

from rvpo.errors import RewardError
from rvpo.runtime.imports import import_function

AnswerOf = Callable[[str], str | None]
"""Gives the text of a completion's answer to what it answers; None where that is nothing."""

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
_UNIT: Final = re.compile(
    r"(?<=[\d.])[\s~]*(?:\\[ ,])?\s*(?:\\(?:text|mathrm)\s*\{\s*)?"
    r"(?:\\?%|percent|\^\s*\{?\\circ\}?|°|degrees?|dollars?|euros?|cents?|[kcm]?m|km/h|mph|miles?|"
    r"(?:kilo|centi|milli)?met(?:er|re)s?|feet|foot|ft|inch(?:es)?|[km]?g|(?:kilo)?grams?|pounds?|"
    r"lbs?|lit(?:er|re)s?|ml|seconds?|minutes?|min|hours?|days?|weeks?|months?|years?|units?)"
    r"(?:\s*\})?$",
    re.IGNORECASE,
)
"""Unit behind a number."""
_LONGEST_NUMBER: Final = 100
_EXACT: Final = Context(prec=2 * _LONGEST_NUMBER)


def final_answer(text: str) -> str | None:
    """See the module; None where there is nothing at all."""
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
    """A number in its one spelling, without its unit; None for any other text."""
    if len(bare) > 2 * _LONGEST_NUMBER or not any(map(str.isdigit, bare)):
        return None
    plain = _SEPARATOR.sub(",", _UNIT.sub("", bare).strip(_AROUND))
    sign = plain[:1] if plain[:1] in ("-", "+") else ""
    plain = sign + plain.removeprefix(sign).lstrip(" \\$")
    if len(plain) > _LONGEST_NUMBER or not _NUMBER.fullmatch(plain):
        return None
    number = Decimal(plain.replace(",", ""))
    return f"{_EXACT.plus(number.normalize(_EXACT)):f}"


def answer_function(path: str | None, where: str) -> AnswerOf:
    """The function that settings name, or `final_answer`.

    What theirs gives is checked: a text, a number or None.

    Raises:
        ConfigError: there is no such function.
    """
    if path is None:
        return final_answer
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

    return answer
