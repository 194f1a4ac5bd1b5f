"""Sentences that say in so many words that a response does well, or that it fails.

They are told from others in order to doubt the sign of a size: nobody wants "Contains factual
errors", and nobody takes points off for "Gives the correct dose".
"""

from __future__ import annotations

import re

from rvpo.rubrics.clause import denied, parts
from rvpo.rubrics.lexicon import words
from rvpo.rubrics.polarity import polarity

_QUESTION = re.compile(
    r"(?:(?P<do>do|does|did)|(?P<be>is|are|was|were|has|have|can|could|will|would))\s+"
    r"(?P<who>(?:(?:the|this|an?|its?|your|their|model's|assistant's|final|generated)\s+)*"
    r"(?:response|answer|model|assistant|reply|output|text|report|it|explanation|advice)s?)\s+"
    r"(?P<not>not\s+)?(?P<what>.*?)[?\s]*$",
    re.IGNORECASE | re.DOTALL,
)
# Unlike "omits", "ignores" and "neglects" alone, of which a rule of the task may be made.
_FAILS = re.compile(
    r"fail(?:s|ed|ing|ure)?\b|(?:incorrectly|wrongly|falsely|inaccurately|mistakenly|erroneously|"
    r"misleadingly)\s|(?:confus|contradict|distort|exaggerat|fabricat|forget|hallucinat|misstat|"
    r"misrepresent|misinterpret|misattribut|misidentif|mislead|misunderst|misquot|overlook|"
    r"oversimplif|overstat|understat|violat)\w*\b|(?:misses|rambles)\b|"
    r"(?:is|are) (?:(?:overly|too|excessively|unnecessarily)\b|(?:\w+ly )?(?:confusing|inaccurate|"
    r"incoherent|incorrect|irrelevant|misleading|off-topic|rude|unsafe|wrong)\b)"
)
_LEAVES = re.compile(
    r"(?:disregard|ignor|neglect|omit|skip)\w* (?:(?:the|an?|any|its|their|most|all) )*"
    r"(?:central|crucial|essential|important|key|main|necessary|patient's|prompt|prompt's|"
    r"question|request|requested|required|stated|user's)\b"
)
_LACKS = re.compile(r"lacks? ")
_UNANSWERED = re.compile(
    r"(?:address|answer|follow|respond to|solve)\w* (?:any of |all of )?the (?:\w+'s )?"
    r"(?:instructions?|problem|prompt|question|request|task)\b"
)
_ERRS = re.compile(
    r"(?:commit|contain|includ|introduc|mak)\w* "
    r"(?:(?!(?:about|common|for|frequent|from|in|of|on|possible|potential|that|to|typical)\b)"
    r"[\w'-]+ ){0,3}(?:errors?|fabrications?|hallucinations?|inaccurac\w+|misinformation|"
    # Error bars, margins and the like are no errors.
    r"mistakes?)\b(?! (?:analys|bar|budget|code|estimat|function|handl|margin|message|on purpose|"
    r"propagat|rate|term|to avoid)\w*)"
)
_BRINGS = re.compile(
    r"(?:contain|give|includ|make|offer|present|provid|state|us)\w* "
    r"(?:(?:an?|any|some|the|one|several|significant|major|serious|factual|factually|medically|"
    r"legally|clinically) )*(?P<thing>[\w-]+)"
)
_BAD = re.compile(
    r"(?:erroneous|excessive|fabricat\w+|false|hallucinated|inaccurate|incorrect|irrelevant|"
    r"misleading|unnecessary|unsupported)(?![\w-])"
)
_NAMED = re.compile(
    r"(?:failure|inability) to\b|"
    r"(?:inaccurate|incorrect|irrelevant|misleading|missing|wrong) (?!.*\b(?:is|are|must|should)\b)"
)
_WELL = re.compile(
    r"(?:is|are) (?:(?:both|factually|fully|medically|clinically|and) )*"
    r"(?:accurate|appropriate|clear|coherent|complete|concise|correct|helpful|safe)\b"
)
_SOUND = words("accurate appropriate correct. helpful")
_DOUBT = re.compile(
    r"\b(?:but|without|despite|although|only|too|instead|yet|not|except|un\w+|in\w*(?:correct|accurate)|"
    r"wrong\w*|mis\w+|fail\w*)\b"
)


def is_failure(text: str) -> bool:
    """True where a sentence says that the response fails or errs: "Fails to give a dose"."""
    text, rest = parts(statement(text))
    if (deed := denied(text, rest)) is not None:
        return _UNANSWERED.match(deed) is not None
    if _LACKS.match(rest):
        return polarity(text) == "negative"
    brings = _BRINGS.match(rest)
    is_bad = brings is not None and _BAD.match(brings["thing"])
    if not (is_bad or any(p.match(rest) for p in (_FAILS, _LEAVES, _ERRS, _NAMED))):
        return False
    return polarity(text) != "positive"


def is_praise(text: str) -> bool:
    """True where a sentence says that the response does something rightly: "Gives the correct
    dose"."""
    text, rest = parts(statement(text))
    if denied(text, rest) is not None or _DOUBT.search(rest):
        return False
    brings = _BRINGS.match(rest)
    return _WELL.match(rest) is not None or bool(brings and _SOUND.match(brings["thing"]))


def statement(text: str) -> str:
    """The sentence that a yes answers, of a question about a response: "Does the answer name it?"
    becomes "The answer name it". Others are as they were."""
    asked = _QUESTION.match(text.strip())
    if asked is None:
        return text
    verb = asked["be"] or ("does" if asked["not"] else "")
    said = " ".join(filter(None, (asked["who"], verb.lower(), asked["not"], asked["what"])))
    return " ".join(said.split())
