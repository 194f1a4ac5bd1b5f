"""The class of a criterion, told from a word of a column or from the name that its text begins
with."""

from __future__ import annotations

import re
from collections.abc import Mapping

from rvpo.criterion import CriterionClass

_CLASS_NAMES: Mapping[str, CriterionClass | None] = {
    "essential": "essential",
    "critical": "essential",
    "mandatory": "essential",
    "important": "important",
    "importance": "important",
    "optional": "optional",
    "option": "optional",
    "pitfall": "pitfall",
    "pitfalls": "pitfall",
    "universal": None,  # names no class of ours: its weight does
}
_LEVELS: Mapping[str, CriterionClass] = {
    "critically important": "essential",
    "must": "essential",
    "must have": "essential",
    "required": "essential",
    "hard rule": "essential",
    "high": "essential",
    "should": "important",
    "should have": "important",
    "medium": "important",
    "principle": "important",
    "slightly important": "optional",
    "good to have": "optional",
    "nice to have": "optional",
    "bonus": "optional",
    "low": "optional",
    "negative": "pitfall",
    "penalty": "pitfall",
    "undesirable": "pitfall",
    "detrimental": "pitfall",
    "slightly detrimental": "pitfall",
    "critically detrimental": "pitfall",
}
"""Names of classes that columns use beside those that begin a text."""

# Of these alone a misspelling is taken; one of "option" could be "options", which is a word.
_OFTEN_MISSPELT = ("essential", "important", "optional", "pitfall")
# A name in brackets needs no more. Another is followed by the word "Criteria", by a colon or dash,
# or by both; the bare word only where a sentence begins after it, for "Important criteria are
# listed" is one. Its number in a list and its points may be written beside it.
_MARKUP = r"[\s*_\"']*"
_DASH = r"[:.\u2013\u2014-]"
_CRITERIA = r"\s+(?i:criteri(?:a|on))"
_NUMBER = r"(?:\(?\d+[.):]\s*)?"
_POINTS = r"(?:\s*[(\[][^()\[\]]{0,20}\d[^()\[\]]{0,20}[)\]])?"
_PREFIX = re.compile(
    rf"[#>-]*{_MARKUP}{_NUMBER}{_MARKUP}(?:"
    rf"[\[(]\s*(?P<bracketed>[A-Za-z]+)(?:{_CRITERIA})?{_POINTS}(?:[,:\s]+[-+]?\d+)?\s*[\])]"
    rf"{_MARKUP}(?:{_DASH}\s)?|"
    rf"(?P<name>[A-Za-z]+)(?:{_CRITERIA}(?:\s+\d+(?=\W))?{_POINTS}{_MARKUP}(?:{_DASH}|(?<=\s)(?=[A-Z]))|"
    rf"{_POINTS}{_MARKUP}:|{_POINTS}\s+{_DASH}\s)"
    rf"){_MARKUP}"
)


def split_label(text: str) -> tuple[CriterionClass | None, str]:
    """The class that a text begins with, if that tells one, and the text after it."""
    prefix = _PREFIX.match(text)
    name = _class_name((prefix["name"] or prefix["bracketed"]).lower()) if prefix else None
    if prefix is None or name is None:
        return None, text.strip()
    return _CLASS_NAMES[name], text[prefix.end() :].strip()


def class_of_word(word: str) -> CriterionClass | None:
    """The class that a cell names ("Must have", "critically_important", "Pitfall Criteria"), or
    None where it names something else."""
    plain = " ".join(re.split(r"[\s_:-]+", word.lower().strip(" :[]()")))
    if plain in _LEVELS:
        return _LEVELS[plain]
    name = _class_name(plain.partition(" ")[0])
    return _CLASS_NAMES[name] if name else None


def _class_name(word: str) -> str | None:
    """The class name that a word is, give or take one slip after its first letter."""
    if word in _CLASS_NAMES:
        return word
    # "Essentials" is a word of its own.
    names = (name for name in _OFTEN_MISSPELT if word != name + "s" and _is_slip(word, name))
    return next(names, None)


def _is_slip(word: str, name: str) -> bool:
    """True where one letter is missing, added or another, or two neighbours are swapped."""
    if abs(len(word) - len(name)) > 1:
        return False
    start = 0
    while start < min(len(word), len(name)) and word[start] == name[start]:
        start += 1
    rest, right = word[start:], name[start:]
    return start > 0 and (
        rest == right[1:]
        or rest[1:] == right
        or rest[1:] == right[1:]
        or (rest[:2] == right[1::-1] and rest[2:] == right[2:])
    )
