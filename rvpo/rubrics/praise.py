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
# Unlike "omits", "ignores" and "neglects", of which a rule of the task may be made.
_FAILS = re.compile(
    r"fail(?:s|ed|ing|ure)?\b|(?:incorrectly|wrongly|falsely|inaccurately|mistakenly|erroneously|"
    r"misleadingly)\s|(?:confus|contradict|distort|exaggerat|fabricat|forget|hallucinat|misstat|"
    r"misrepresent|misinterpret|misattribut|misidentif|mislead|misunderst|misquot|overlook|"
    r"oversimplif|overstat|rambl|understat|violat)\w*\b|"
    r"(?:is|are) (?:\w+ly )?(?:confusing|inaccurate|incoherent|incorrect|irrelevant|misleading|"
    r"off-topic|rude|unsafe|wrong)\b"
)
_BRINGS = re.compile(
    r"(?:contain|give|includ|make|offer|present|provid|state|us)\w* "
    r"(?:(?:an?|any|some|the|one|significant|major|serious|factual|factually|medically|legally|"
    r"clinically) )*(?P<thing>[\w-]+)"
)
# Error bars, margins and the like are no errors.
_ERROR = re.compile(
    r"(?:error|mistake)s?\b(?! (?:analys|bar|budget|code|estimat|function|handl|margin|message|"
    r"propagat|rate|term)\w*)|(?:erroneous|fabricat|hallucinat|inaccura|incorrect|misinform|"
    r"misleading)\w*|false\b"
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
    if denied(text, rest) is not None or polarity(text) == "positive":
        return False
    brings = _BRINGS.match(rest)
    return _FAILS.match(rest) is not None or bool(
        brings and _ERROR.match(rest, brings.start("thing"))
    )


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
