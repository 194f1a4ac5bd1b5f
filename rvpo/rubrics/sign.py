"""The sign of a pitfall, told from its sentence, its title and its rubric: is meeting it bad?

"Does not recommend X" praises where X is a wrong option and blames where X is what was needed: the
sentence alone cannot tell. Its title can ("Avoids X", "Overlooks X"), and so can what the other
criteria of the rubric ask for. Where nothing tells, or title and sentence tell opposite signs,
there is no answer: a channel that is left out costs less than one that trains backwards.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from rvpo.criterion import Polarity
from rvpo.rubrics.lexicon import COMPOUND, words
from rvpo.rubrics.polarity import is_absence, is_statement, names, polarity
from rvpo.rubrics.praise import statement

SignSource = Literal["column", "title", "wording", "rubric", "size", "judge"]
"""Source of a sign: a column of the data, the title, the sentence, the other criteria, points below
0, or a judge that was asked."""

Doubtful = Literal["drop", "keep", "flip"]

DOUBTFUL_POLARITY: Mapping[Doubtful, Polarity | None] = {
    "drop": None,
    "keep": "negative",
    "flip": "positive",
}
"""Polarity of an unwanted criterion that may be meant the other way round; None leaves it out."""

Heading = Literal["virtue", "diligence", "absence", "omission", "commission", "fault"]
"""Subject of a title: something avoided, an omission avoided, something that is not there ("No
Surgery" praises, "No Dose" blames), something left out, something done that should not be, or a
failure that may be either."""

_OF_ABSENCE: Mapping[Heading | None, Polarity] = {
    "virtue": "positive",
    "diligence": "negative",
    "commission": "positive",
    "omission": "negative",
}
"""Polarity of a sentence that says something is absent, under such a title."""

_VIRTUE = words(
    "avoid. avoids avoiding doesn't excludes excluding no. non- not. prevents refrain steer "
    "without."
)
_RULES_OUT = re.compile(r"rul(?:es?|ing) out\b|(?:avoidance|exclusion) of\b|free (?:of|from)\b")
_NOT_THERE = words("avoidance doesn't exclusion. free. no. non- not. without.")
_TO_WHAT = re.compile(r"(?:(?:any|away|clear|from|of|out|the) )+")
_AVOIDED = re.compile(rf"does not|{_RULES_OUT.pattern}|{_VIRTUE.pattern}")
_OMISSION = words(
    "omit omission overlook neglect ignor ignoring fail miss. misses missed missing lack "
    "incomplete insufficient inadequate forget disregard dismiss skip absence absent vague unclear"
)
_LEFT_OUT = re.compile(
    r"(?:any )?(?:omi|overlook|neglect|ignor|fail|miss(?:e[ds]|ing)?\b|lack|forget|disregard|skip|"
    r"incomplete|absence)"
)
_COMMISSION = words(
    "recommend suggest prescrib advis promot propos unnecessar unneeded irrelevan unrelated "
    "extraneous exces superfluous redundan inappropriate misleading distractor over unproven"
)
_FAULT = words(
    "incorrect wrong inaccura false erroneous mistak error misconception unsafe harmful dangerous "
    "improper invalid poor under choosing selecting confusi contradict"
)
_FAULTY = words(
    "unrelated irrelevan unnecessar unneeded incorrect wrong inappropriate misleading unsupported "
    "unproven excess extraneous superfluous invalid contradiction error blame jargon"
)
# Parts of an answer: a title that says they are avoided, or not there, may name a failure.
_PART = words(
    "acknowledg address advice answer ask citation clarif commit conclu consider detail "
    "diagnosis. discuss evidence explain explanation explor follow-up guidance inform "
    "instruction justif mention plan question rationale reason recommendation reference "
    "safety speak support talk tell treatment warn"
)
_TITLE_START = re.compile(r"(?:the|response|answer|correctly|properly|appropriately)\s+")
_DENIAL = re.compile(
    r"\b(?:avoid\w*|not|never|contraindicat\w*|unnecessary|incorrect\w*|wrong\w*|rules? out|"
    r"rather than|instead of|exclud\w*|no|without|against|harmful|dangerous)\b"
)
_LEADS = re.compile(
    r"^.*?\b(?:not|never|n't|avoids?|fails? to|at no point)\s+"
    r"(?:(?:explicitly|even|also|clearly)\s+)?[\w-]+\s+"
)
_PLAIN = words(
    "a. an. and. any. are. as. at. be. been. by. can. cause. correct. could. diagnosis. due. "
    "during. first. for. from. has. have. in. into. is. it. its. may. might. need. needed. of. on. "
    "or. other. patient. response. should. state. that. the. their. this. to. treatment. use. "
    "used. was. were. when. which. with. answer."
)
_ENDING = re.compile(r"(?<=\w\w\w)(?:s|es|ed|ing|ion|ions|ment)$")
_ENOUGH = 0.6
"""Share of what a pitfall speaks of that another criterion must speak of, to be about the same."""


@dataclass(frozen=True, slots=True)
class Sign:
    """A polarity, and what told it."""

    polarity: Polarity
    told_by: SignSource


def sign(text: str, title: str = "", wanted: Sequence[str] = ()) -> Sign | None:
    """The sign of a pitfall, or None where nothing tells it.

    Args:
        text: the sentence that a response meets or not.
        title: a few words above it, as RaR's rows have; may be empty.
        wanted: sentences of the same rubric that a good response meets.
    """
    text = statement(text)
    told = polarity(text)
    by_title = _by_title(title, text, told)
    if by_title is not None:
        return None if told not in (None, by_title) else Sign(by_title, "title")
    if told is not None:
        return Sign(told, "wording")
    by_rubric = _asked(text, wanted) if is_absence(text) else None
    return Sign(by_rubric, "rubric") if by_rubric is not None else None


def _by_title(title: str, text: str, told: Polarity | None) -> Polarity | None:
    """Polarity of a sentence by its title, where the two speak of the same."""
    heading = _heading(title)
    is_shared = bool(_terms(title.lower()) & _terms(text.lower()))
    if is_absence(text):
        return None if heading == "diligence" and not is_shared else _OF_ABSENCE.get(heading)
    if told is not None or heading in (None, "diligence") or not is_statement(text):
        return None
    if heading in ("virtue", "absence"):  # a statement may be of the vice, or of the virtue
        is_vice = is_shared and not names(text) and not _DENIAL.search(text.lower())
        return "negative" if is_vice else None
    # What names the thing that its title calls left out does not leave it out.
    return None if heading == "omission" and is_shared and names(text) else "negative"


def _heading(title: str) -> Heading | None:
    """Subject of a title, by what it says of the response."""
    plain = _TITLE_START.sub("", " ".join(title.lower().replace("\u2019", "'").split()), count=1)
    first, _, _ = plain.partition(" ")
    if avoided := _AVOIDED.match(plain):
        what = _TO_WHAT.sub("", plain[avoided.end() :].lstrip(), count=1)
        if _LEFT_OUT.match(what):
            return "diligence"
        if _FAULTY.search(what):
            return "virtue"
        if plain.startswith("does not") or _PART.match(what) or what.startswith("mention"):
            return None
        return "absence" if _NOT_THERE.match(plain) else "virtue"
    if _OMISSION.match(plain) and _FAULTY.search(COMPOUND.sub("", plain)):
        return None
    if _OMISSION.match(plain) or re.match(r"mis\w+s\b|confuses\b|mistakes\b", plain):
        return "omission"
    if _COMMISSION.match(plain):
        return "commission"
    return "fault" if _FAULT.match(first) or re.match(r"mis\w+|delay|under|confus", first) else None


def _asked(text: str, wanted: Sequence[str]) -> Polarity | None:
    """Negative where the others ask for what this one says is absent, positive where they deny it;
    None where they do neither, or both."""
    subject = _terms(_LEADS.sub("", text.lower()))
    about = [
        other
        for other in wanted
        if subject and len(subject & _terms(other.lower())) / len(subject) >= _ENOUGH
    ]
    denied = {_DENIAL.search(other.lower()) is not None for other in about}
    if len(denied) != 1:
        return None
    return "positive" if denied.pop() else "negative"


def _terms(text: str) -> frozenset[str]:
    """The words that say what a sentence is about, give or take their endings."""
    found = re.findall(r"[a-z0-9][a-z0-9-]+", text)
    return frozenset(_ENDING.sub("", word) for word in found if not _PLAIN.fullmatch(word))
