"""Pairs of criteria of a rubric that negate each other."""

from __future__ import annotations

import re
from collections.abc import Sequence

from rvpo.criterion import Criterion
from rvpo.rubrics.overlap import normalized

_NEGATION = re.compile(
    r"\b(?:(?:(?:does|do|did)(?:n't| not)|never|fails? to|avoids?) |"
    r"(?P<stays>(?:is|are|was|were|has|have|should|must) ?)(?:n't|not) )"
)
_SUBJECT = re.compile(
    r"(?:(?:it|(?:the|this|a) (?:response|answer|reply)) )?(?:(?:does|do|should|must) )?"
)
_ENDING = re.compile(r"(?<=\w\w)(?:s|ing)\b")  # "mentions", "mentioning" and "mention"


def mirrored(criteria: Sequence[Criterion]) -> int:
    """Pairs of a sentence and its negation: whoever meets one misses the other, which counts one
    thing twice, or, by their polarities, asks for both."""
    told = [_bare(criterion.text) for criterion in criteria]
    affirmed = {text for text, is_negated in told if not is_negated}
    return sum(is_negated and text in affirmed for text, is_negated in set(told))


def _bare(text: str) -> tuple[str, bool]:
    """A sentence without its negation, and whether it had one."""
    plain = normalized(text).replace("\u2019", "'")
    bare, negations = _NEGATION.subn(lambda match: f"{match['stays'] or ''} ", plain)
    return _ENDING.sub("", _SUBJECT.sub("", " ".join(bare.split()), count=1)), negations % 2 == 1
