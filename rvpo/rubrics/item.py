"""One entry of a rubric as data sets write it: its text, size, class, topic and, where it says so,
its polarity, by the names that people use."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, TypeGuard, get_args

from rvpo.criterion import CriterionClass, Polarity
from rvpo.files.literal import read_list, read_value
from rvpo.rubrics.label import class_of_word, split_label
from rvpo.scale import Grades, scale_of

TEXTS = (
    "text",
    "criterion",
    "criterion_text",
    "criteria",
    "description",
    "criteria_description",
    "rubric_item",
    "requirement",
    "statement",
    "question",
    "rubric",
    "item",
    "content",
    "title",
)
SIZES = ("points", "weight", "score", "importance", "max_points", "max_score", "value", "severity")
NO_NUMBER = "with a size that is no number"
_WORDY = ("importance", "value", "severity")
"""Sizes that may be words as well."""
CLASSES = ("label", "category", "class", "weight_class", "importance", "level", "priority", "type")
AXES = ("axis", "dimension", "criteria_category", "theme", "aspect", "category")
NESTED = ("annotations", "modifiers", "metadata")
"""Fields that may hold further ones."""
SIGNS = ("polarity", "sign", "type", "kind")
PASSES = ("pass_criteria", "expected", "expected_answer")
"""Fields with the answer, yes or no, that a good response leads to."""

_AXIS = "axis:"
_WORDS: Mapping[str, Polarity] = {
    "positive": "positive",
    "+": "positive",
    "yes": "positive",
    "true": "positive",
    "negative": "negative",
    "-": "negative",
    "no": "negative",
    "false": "negative",
}
FLAGS: Mapping[str, tuple[Polarity, Polarity]] = {
    "is_positive": ("positive", "negative"),
    "positive": ("positive", "negative"),
    "desirable": ("positive", "negative"),
    "is_negative": ("negative", "positive"),
    "negative": ("negative", "positive"),
}
"""Fields that are true or false, with the polarities that these tell."""
_TRUTHS: Mapping[str, bool] = {
    **dict.fromkeys(("yes", "true", "y", "t", "1", "positive", "met", "pass"), True),
    **dict.fromkeys(("no", "false", "n", "f", "0", "negative", "not met", "fail"), False),
}
_NUMBER = re.compile(
    r"\s*([-+]?\d+(?:\.\d+)?)\s*(?:(?:/|(?:out )?of )\s*\d+|%|pts?\.?|points?)?\s*"
)
_MINUS = str.maketrans("\u2212\u2012\u2013", "---")
"""Other characters that are written for a minus."""
_SIZE = r"[-+]?\d{1,6}(?:\.\d{1,6})?"
_POINTS = r"(?:pts?\.?|points?)"
# A bare number in round brackets may be the number in a list, or belong to the sentence.
_LEADING = re.compile(
    rf"\[\s*(?P<bracketed>{_SIZE})\s*{_POINTS}?\s*\]\s*[:.-]?\s*|"
    rf"\(\s*(?P<round>[-+]\d+(?:\.\d+)?|{_SIZE}\s*{_POINTS})\s*\)\s*[:.-]?\s*|"
    rf"points?:\s*(?P<points>{_SIZE})\s*[,;]\s*item:\s*|"
    rf"(?P<signed>[-+]\d{{1,6}}(?:\.\d{{1,6}})?)\s*{_POINTS}?\s*:\s+",
    re.IGNORECASE,
)
_TRAILING = re.compile(
    rf"\s*[\[(]\s*(?:importance|weight|points?|score)\s*[:=]?\s*(?P<named>{_SIZE})\s*"
    r"(?:/\s*\d+|%)?\s*[\])][\s.]*$|"
    rf"\s*[\[(]\s*(?P<size>{_SIZE})\s*{_POINTS}\s*[\])][\s.]*$|"
    rf"\s*[\[(]\s*(?P<signed>[-+]\d{{1,6}}(?:\.\d{{1,6}})?)\s*[\])][\s.]*$|"
    rf"\s*:\s*(?P<behind>[-+]\d{{1,6}}(?:\.\d{{1,6}})?)\s*{_POINTS}[\s.]*$|"
    r"\s*\[\s*(?P<word>[a-z][a-z -]{1,24})\s*\][\s.]*$",
    re.IGNORECASE,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class RubricItem:
    """An entry of a rubric as it was written, with nothing guessed."""

    text: str = ""
    """Text without the name of its class; empty where there is none."""
    title: str = ""
    """A few words above the text."""
    size: float | None = None
    """Points or weight with their sign; None where there are none to read."""
    polarity: Polarity | None = None
    """Polarity where the entry states it."""
    label: CriterionClass | None = None
    """Class where the entry names it."""
    axis: str = ""
    scale: Grades = ()
    is_pitfall: bool = False
    """True where the entry is called a pitfall: it may be worded as the failure or as its
    avoidance."""
    flaw: str = ""
    """Reason why the entry cannot be used although it has a text; empty where it can."""
    by_rule: bool = False
    """True for what a program is to check: its text is the name of a rule and no sentence."""


def read_item(entry: Any) -> RubricItem:
    """The parts of an entry, a table or a text; without a text where there is none.

    Raises:
        ValueError: a stated polarity is neither of the two, or a scale is none.
    """
    if isinstance(entry, str):
        return _of_text(entry)
    if not isinstance(entry, Mapping):
        return RubricItem()
    fields = _flat(entry)
    written = _written(entry, fields)
    title = fields.get("title")
    item = _of_text(written) if not _has_size(fields) else RubricItem(text=written.strip())
    label, text = split_label(item.text)
    named = next((c for n in CLASSES if (c := _class(fields.get(n))) is not None), None)
    size, flaw = _size(fields)
    size, flaw = (size, flaw) if item.size is None else (item.size, "")
    return RubricItem(
        text=text,
        title=title.strip() if _is_word(title) and title != written else "",
        size=size,
        flaw=flaw,
        polarity=_polarity(fields),
        label=label or item.label or named,
        axis=_axis(fields),
        scale=scale_of(fields.get("scale")),
        is_pitfall=item.is_pitfall or label == "pitfall" or _is_called_pitfall(fields),
        by_rule=_is_rule(fields),
    )


def number(value: Any) -> float | None:
    """The number in a cell, also as text ("+5", "80/100", "20%"); None where it holds none."""
    if isinstance(value, str):
        value = value.translate(_MINUS)
        found = _NUMBER.fullmatch(value)
        value = found[1] if found else value
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        return None
    try:
        found_number = float(value)
    except (ValueError, OverflowError):
        return None
    return found_number if math.isfinite(found_number) else None


def _of_text(text: str) -> RubricItem:
    """A text, without the size and the class that are written at either end of it."""
    size: float | None = None
    text = text.strip()
    if leading := _LEADING.match(text.translate(_MINUS)):  # as long as the text itself
        size = number(next(filter(None, leading.groups())))
        text = text[leading.end() :]
    label, text = split_label(text)
    is_pitfall = label == "pitfall"
    while trailing := _TRAILING.search(text.translate(_MINUS)):
        told = class_of_word(trailing["word"]) if trailing["word"] else None
        if trailing["word"] and told is None:
            break
        label = label or told
        if not trailing["word"]:
            size = number(next(filter(None, trailing.groups())))
        text = text[: trailing.start()].rstrip()
    return RubricItem(text=text, size=size, label=label, is_pitfall=is_pitfall)


def _flat(entry: Mapping[str, Any]) -> dict[str, Any]:
    """The fields of an entry, those that are nested in it too; its own come first."""
    fields: dict[str, Any] = {}
    for name in NESTED:
        inner = read_value(entry.get(name))
        if isinstance(inner, Mapping):
            fields |= inner
    return fields | {name: value for name, value in entry.items() if value is not None}


def _written(entry: Mapping[str, Any], fields: Mapping[str, Any]) -> str:
    """The text of an entry; a title is one where no other name for it is there, also empty."""
    others = [name for name in TEXTS if name != "title"]
    found = next((fields[name] for name in others if _is_word(fields.get(name))), "")
    title = fields.get("title")
    if found or not isinstance(title, str) or any(name in entry for name in others):
        return found
    return title


def _has_size(fields: Mapping[str, Any]) -> bool:
    return _size(fields)[0] is not None


def _size(fields: Mapping[str, Any]) -> tuple[float | None, str]:
    """Points or weight, None where there are none, and the flaw of those that are no number. A
    class may have a column of its own for the weight of its criteria."""
    of_class = fields.get("weight_class")
    if isinstance(of_class, str):
        own = number(fields.get("_".join(of_class.lower().split()) + "_weight"))
        if own is not None:
            return own, ""
    for name in SIZES:
        value = fields.get(name)
        if (size := number(value)) is not None:
            return size, ""
        is_empty = value is None or (isinstance(value, str) and not value.strip())
        if not is_empty and (name not in _WORDY or _is_numeric(value)):
            return None, NO_NUMBER
    return None, ""


def _is_numeric(value: Any) -> bool:
    """True for what is meant as a number and not as a word."""
    return isinstance(value, float) or (
        isinstance(value, str) and re.search(r"\d", value) is not None
    )


def _class(value: Any) -> CriterionClass | None:
    return class_of_word(value) if isinstance(value, str) else None


def _polarity(fields: Mapping[str, Any]) -> Polarity | None:
    stated = fields.get("polarity")
    stated = stated.strip().lower() or None if isinstance(stated, str) else stated
    if stated is not None and stated not in get_args(Polarity):
        raise ValueError(
            f"polarity is {stated!r}; give positive (a good response meets the criterion) or "
            "negative, or leave it out"
        )
    for name in SIGNS:
        value = fields.get(name)
        if isinstance(value, str) and (told := _WORDS.get(value.strip().lower())) is not None:
            return told
    passes: dict[str, tuple[Polarity, Polarity]] = dict.fromkeys(PASSES, FLAGS["positive"])
    for name, (where_true, where_false) in {**passes, **FLAGS}.items():
        if (flag := truth(fields.get(name))) is not None:
            return where_true if flag else where_false
    return None


def truth(value: Any) -> bool | None:
    """True or false as cells hold it: also 1 and 0, yes and no, in words or letters."""
    if isinstance(value, str):
        return _TRUTHS.get(value.strip().rstrip(".!").lower())
    return bool(value) if value in (0, 1) and isinstance(value, bool | int | float) else None


def _axis(fields: Mapping[str, Any]) -> str:
    for tag in read_list(fields.get("tags")) or ():
        if isinstance(tag, str) and tag.startswith(_AXIS):
            return tag.removeprefix(_AXIS)
    names = (fields.get(name) for name in AXES)
    return next((n.strip() for n in names if _is_word(n) and class_of_word(n) is None), "")


def _is_called_pitfall(fields: Mapping[str, Any]) -> bool:
    names = (fields.get(name) for name in CLASSES)
    return any(isinstance(n, str) and n.strip().lower().startswith("pitfall") for n in names)


def _is_rule(fields: Mapping[str, Any]) -> bool:
    tags = fields.get("tags")
    checks = (fields, tags if isinstance(tags, Mapping) else {})
    return any(check.get("verifier") == "rule" for check in checks)


def _is_word(value: Any) -> TypeGuard[str]:
    return isinstance(value, str) and bool(value.strip())
