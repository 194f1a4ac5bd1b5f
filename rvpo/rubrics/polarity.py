"""The polarity of a pitfall, told from its wording: is meeting it good or bad?

Rubrics name pitfalls in two opposite ways. Some describe the failure ("Does not mention X", "Claims
that X"): a response that meets them is the worse one. Others ask to avoid it ("Should not claim X",
"Does not confuse X with Y"): a response that meets them is the better one. The data sets give both
the same negative weight, so only the sentence tells.
"""

from __future__ import annotations

import re
from typing import Literal

from rvpo.criterion import Polarity
from rvpo.rubrics.clause import denied, parts, told_of
from rvpo.rubrics.lexicon import (
    ASSERTS,
    BAD_ADVERB,
    BAD_VERB,
    BAD_WORD,
    COMPOUND,
    DELIVERS,
    DUE,
    DWELLS,
    EITHER_WAY,
    FLAW,
    GIVES,
    GOOD_ADVERB,
    GOOD_VERB,
    GOOD_WORD,
    HARMFUL,
    LACKS,
    MENTION,
    NAMES,
    OF_A_TEXT,
    OMITS,
    OPTIONS,
    OVERLOOKS,
    OWED,
    RIGHTLY,
    SPARES,
    SPEAKS,
    STRESSED,
    SUPERFLUOUS,
    TELLS,
    TEXT_PART,
    THAT_OFTEN_CLAIMED,
    TOPIC,
    VIRTUE,
    WITHHOLDS,
)

Quality = Literal["good", "bad"]


_DEMAND = re.compile(
    r"(?:should|shall|must|ought|needs? to|ha(?:s|ve) to|(?:is|are) (?:expected|required|supposed) "
    r"(?:not )?to|shouldn't|mustn't|ensures?|makes? sure|takes? care|guards? against)\b"
)
_IMPERATIVE = re.compile(
    r"(?:do not|don't|please|avoid|refrain|"
    r"never (?:\w+ly )*+(?!(?:an?|any|as|at|by|even|ever|for|in|of|on|once|quite|so|the|to)\b)"
    r"\w*[^s\W] |"
    r"be (?:careful|sure|wary)|beware|remember|watch (?:out|for)|ideally|"
    r"preferably|it (?:is|would be) (?:important|essential|crucial|necessary|best|better|good|"
    r"helpful|ideal|preferable) (?:not )?to|"
    r"(?:an?|any|the) (?:good|ideal|perfect|excellent|high-quality) (?:response|answer|reply))\b"
)
_AUXILIARY = re.compile(r"(?:may|might|could|can|will|would|is|are|was|were|has|have|be|been)\s+")
_FILLER = re.compile(
    r"(?:explicitly|also|even|directly|either|specifically|at all|ever|attempt to|try to|tries to|"
    r"seem to|appear to|seems to|appears to|inadvertently|implicitly|actively|at any point|been|"
    r"be|being|then|instead)\s+"
)
_DETERMINER = re.compile(r"(?:an?|the|any|some|such|other|more|its|their|his|her)\s+")
_FAILURE = re.compile(r"(?:fail(?:s|ed|ing|ure)?|unable|inability|penali[sz]e\w*|deduct\w*)\b")
_HARDLY = re.compile(r"(?:barely|hardly|rarely|scarcely|seldom)\s+")
_LEAVING = re.compile(
    r"(?:the )?(?P<verb>[\w-]+) (?:(?:out|of|from) )*"
    r"(?P<all>(?:an?|the|any|all|its|his|her|their) )?(?P<thing>.*)"
)
_NONE = re.compile(r"no (?:(?:hint|sign|trace) of )?(?P<thing>.*)")
_OWNER = re.compile(r"^[\w ,-]*?\w(?:'s|s') ")
_PICKS = re.compile(r"answers?(?:ing)? (?:with|by|as|options?|\(?[a-h]\b\)?)")
# Unlike "suggest that", which is as often the claim to avoid.
_SUGGESTS_DOING = re.compile(r"suggest(?:ing)? \w+ing\b")
_ADVICE = re.compile(
    r"(?:advis|encourag|propos|promot|recommend|suggest|urg)\w* "
    r"(?:(?:the )?(?:patient|parent|person|user|reader)s? )?(?:to )?(?P<deed>\w+.*)"
)
_RASHLY = re.compile(r"\b(?:abruptly|suddenly|carelessly|recklessly|blindly|without|unless)\b")
_LIGHTLY = re.compile(r"\b(?:lightly|for granted|at face value|out of (?:context|proportion))\W*$")
_HEAD_END = re.compile(
    r"[,;.]|\b(?:about|after|against|among|as|at|because|before|between|by|during|for|from|how|if|in|"
    r"of|on|regarding|than|that|to|when|where|whether|which|why|with|without)\b"
)
_THAT_IS = re.compile(r"(?:[\w-]+ ){1,2}(?:that|which) (?:is|are|may be|could be) (?P<rest>.*)")
_STATING = re.compile(r"(?:stating|suggesting) (?!that\b)")
_SPARED = re.compile(r"[\w-]+ (?:clear of |away from |from |against |to )?")
_PENALTY = re.compile(
    r"\b(?:should|shall|must|will|would|can|may|is to|are to|ought to|needs? to|"
    r"ha(?:s|ve) to)(?P<not> not)? "
    r"(?:be (?:penali[sz]ed|marked (?:down|wrong|incorrect|as)|downgraded|docked|deducted|"
    r"(?:considered|deemed|judged|regarded as|treated as|counted as|rated|graded|scored) "
    r"(?:as )?(?:an? )?(?:wrong|incorrect|inadequate|incomplete|fail\w*|false|flawed|invalid|"
    r"low\w*|poor\w*|unacceptable|unsafe|unsatisfactory|weak\w*|worse))|"
    r"(?:lose|forfeit) (?:\w+ )?(?:credit|marks?|points?)|"
    r"(?:receive|get|earn|be given|score) (?:an? )?(?:less|lower|low|no|reduced|zero)\b)"
)
_NO_CREDIT = re.compile(r"no (?:\w+ )?(?:credit|marks?|points?) ")
_IF_IT_SHOULD = re.compile(r"should (?:the|this|an?|any|it|they|one|you)\b")
_FORBIDDEN = re.compile(
    r"no (?:(?!(?:about|for|how|if|of|on|that|to|when|whether|which|who|why)\b)[\w-]+ ){1,4}"
    r"(?:should|must|shall|ought to|needs? to) be\b"
)
_ASSURES = re.compile(r"(?:ensures?|makes? sure|takes? care)(?: to)? (?P<deed>.*)")


def polarity(text: str) -> Polarity | None:
    """The polarity of a pitfall or other unwanted thing, or None where its wording does not tell.

    Args:
        text: the criterion, without the name of its class.

    Returns:
        "negative" where the sentence describes the failure, "positive" where it asks to avoid one.
    """
    text, rest = parts(text)
    if penalty := _PENALTY.search(text):
        return None if penalty["not"] or "unless" in text else "negative"
    if _NO_CREDIT.match(text):
        return None if "unless" in text else "negative"
    if _IF_IT_SHOULD.match(text):
        return None
    if (assured := _ASSURES.match(rest)) and BAD_VERB.match(assured["deed"]):
        return "negative"
    if _FORBIDDEN.match(rest):
        return "positive"
    if _DEMAND.match(rest) or _IMPERATIVE.match(text):
        return "positive"
    if (deed := denied(text, rest)) is not None:
        return _opposite(_deed(deed))
    if hardly := _HARDLY.match(rest):
        return "negative" if _deed(rest[hardly.end() :]) == "good" else None
    if _FAILURE.match(rest):
        return "negative"
    if none := _NONE.match(rest):
        return _blamed(_omission("lacks " + none["thing"]))
    if (deed := told_of(text, rest)) is not None:
        return _affirmed(deed)
    return _affirmed(rest) or _demanded(text, rest)


def is_absence(text: str) -> bool:
    """True where a sentence says that something is not there, and nothing bad about that thing."""
    text, rest = parts(text)
    if (deed := denied(text, rest)) is not None:
        return _deed(deed) != "bad"
    left = told_of(text, rest) or rest
    if _leaves(left) and not OVERLOOKS.match(left):
        return _omission(left) != "good"
    return SPARES.match(rest) is not None and _spared(rest) != "positive"


def is_statement(text: str) -> bool:
    """True where a sentence says what the response does, without a word for that it should or not,
    or that it does so well."""
    text, rest = parts(text)
    is_asked = _DEMAND.match(rest) or _IMPERATIVE.match(text) or _IF_IT_SHOULD.match(text)
    is_denied = denied(text, rest) is not None or " not " in rest or "n't " in rest
    is_denied = is_denied or SPARES.match(rest) is not None
    return not (is_asked or is_denied or _PENALTY.search(text)) and _deed(rest) != "good"


def names(text: str) -> bool:
    """True where a sentence says that the response speaks of something, and of more than that."""
    _, rest = parts(text)
    is_short = BAD_ADVERB.search(rest) or re.search(r" (?:but|except|without)\b", rest)
    is_naming = NAMES.match(rest) or EITHER_WAY.match(rest) or TELLS.match(rest)
    return is_naming is not None and not is_short


def _affirmed(rest: str) -> Polarity | None:
    rest = _without(_AUXILIARY, rest)
    first = _without(_FILLER, rest)
    if _leaves(first):
        return _blamed(_omission(first))
    if BAD_ADVERB.match(first) or BAD_VERB.match(first) or BAD_WORD.match(first):
        return "negative"
    if SPARES.match(first):
        return _spared(first)
    if GOOD_ADVERB.match(first):
        return _praised(first)
    if _is_bad_object(first):
        return "negative"
    return "negative" if ASSERTS.match(first) else None


def _spared(phrase: str) -> Polarity | None:
    """Avoiding a failure is good, avoiding a subject that matters is not."""
    deed = _without(_DETERMINER, _without(_FILLER, _SPARED.sub("", phrase, count=1)))
    is_topic = TOPIC.match(deed)
    if phrase.startswith("stay") and BAD_WORD.match(phrase.partition(" ")[2]):
        return "negative"
    if not (is_topic or GOOD_VERB.match(deed) or SPEAKS.match(deed) or _STATING.match(deed)):
        return "positive"
    if HARMFUL.search(deed):
        return None
    if _is_bad_object(deed):
        return "positive"
    if BAD_WORD.search(deed) or BAD_ADVERB.search(deed):
        return None
    return "negative" if is_topic or SPEAKS.match(deed) else None


def _praised(phrase: str) -> Polarity | None:
    """A good adverb and what it belongs to: "clearly explains", "clearly misstates"."""
    _, _, deed = phrase.partition(" ")
    told = "negative" if _FAILURE.match(deed) else _affirmed(deed)
    if RIGHTLY.match(phrase):
        is_bad = _FAILURE.match(deed) or BAD_VERB.match(deed) or BAD_WORD.match(deed)
        return None if is_bad else "positive"
    if told is None and (GOOD_VERB.match(deed) or GOOD_WORD.match(deed)):
        return "positive"
    return told


def _demanded(text: str, rest: str) -> Polarity | None:
    """A demand on a part of the answer: "The final value should have a unit"."""
    demand = re.search(r"\b(?:should|must)\b", text)
    if demand is None or TELLS.match(rest):
        return None
    is_told = re.search(r"\b(?:according|as if|if|says?|that|which)\b", text[: demand.start()])
    return None if is_told else "positive"


def _deed(phrase: str) -> Quality | None:
    """Quality of doing this, or of being this."""
    is_stressed = STRESSED.match(phrase)
    phrase = _without(_FILLER, phrase)
    if _leaves(phrase):
        return _omission(phrase)
    if SPARES.match(phrase):
        return _merit(_spared(phrase))
    if BAD_ADVERB.match(phrase) or BAD_VERB.match(phrase) or OPTIONS.search(phrase):
        return "bad"
    if adverb := GOOD_ADVERB.match(phrase):
        is_bad = BAD_VERB.match(phrase[adverb.end() :].lstrip()) and not RIGHTLY.match(phrase)
        return "bad" if is_bad else "good"
    if _LIGHTLY.search(phrase):
        return "bad"
    if (advice := _ADVICE.match(phrase)) and WITHHOLDS.match(advice["deed"]):
        return "bad" if _RASHLY.search(advice["deed"]) else None
    if advice and BAD_VERB.match(advice["deed"]):
        return "bad"
    if _is_bad_object(phrase):
        return "bad"
    if _PICKS.match(phrase):
        return None
    if _SUGGESTS_DOING.match(phrase):
        return "good"
    if GIVES.match(phrase) and MENTION.match(_object(phrase)):
        return None if OF_A_TEXT.search(phrase) else "good"
    if EITHER_WAY.match(phrase):
        is_owed = OWED.match(phrase) or DUE.search(_head(_object(phrase)))
        is_fact = is_owed and not THAT_OFTEN_CLAIMED.match(phrase)
        last = phrase.rstrip(".").rpartition(" ")[2]
        return "good" if is_stressed or is_fact or GOOD_ADVERB.match(last) else None
    if GOOD_VERB.match(phrase):
        return "good"
    last = phrase.rstrip(".").rpartition(" ")[2]
    return "good" if GOOD_ADVERB.match(last) else _thing(phrase)


def _thing(phrase: str) -> Quality | None:
    phrase = _without(_DETERMINER, phrase)
    if BAD_WORD.match(phrase):
        return "bad"
    if GOOD_WORD.match(phrase) or MENTION.match(phrase):
        return "good"
    return None


def _is_bad_object(phrase: str) -> bool:
    """True where what a verb delivers is bad: "an incorrect dose", "surgery without imaging"."""
    rest = _object(phrase)
    if DWELLS.match(phrase):
        return SUPERFLUOUS.search(_head(rest)) is not None
    if NAMES.match(phrase):
        found = _held(rest) == "bad" or BAD_ADVERB.search(_head(rest)) is not None
    elif DELIVERS.match(phrase):
        found = (BAD_WORD.search(_head(rest)) or BAD_ADVERB.search(_head(rest))) is not None
    else:
        return False
    if (that := _THAT_IS.match(rest)) and not HARMFUL.match(that["rest"]):
        found = found or BAD_WORD.match(that["rest"]) is not None
    return found or re.search(r" (?:without|unless) ", rest) is not None


def _held(thing: str) -> Quality | None:
    """Quality of a text that holds a thing; None where what is bad may be in the world."""
    head = _head(thing)
    if OF_A_TEXT.search(head):
        return "bad"
    if BAD_WORD.search(head):
        return "bad" if TEXT_PART.search(head) else None
    is_good = GOOD_WORD.search(head) or MENTION.search(head) or VIRTUE.search(head)
    return "good" if is_good or DUE.search(head) else None


def _leaves(phrase: str) -> bool:
    phrase = phrase.removeprefix("the ")
    if re.match(r"leav|left", phrase) and not re.search(r"\bout\b", phrase):
        return False
    return any(verb.match(phrase) for verb in (LACKS, OMITS, OVERLOOKS))


def _omission(phrase: str) -> Quality | None:
    """Quality of leaving something out: as good as the thing is bad."""
    found = _LEAVING.match(phrase)
    if found is None or not (thing := found["thing"].strip(" .")):
        return "bad"
    if OVERLOOKS.match(found["verb"]):
        return "good" if SUPERFLUOUS.search(_head(thing)) else "bad"
    quality = _held(thing)
    is_bad = quality == "bad" or (LACKS.match(found["verb"]) and FLAW.search(_head(thing)))
    if is_bad:
        return "good"
    if quality == "good":  # a mention of what is irrelevant
        return None if SUPERFLUOUS.search(thing) else "bad"
    is_due = found["all"] or OMITS.match(found["verb"])
    return "bad" if is_due and not BAD_WORD.search(_head(thing)) else None


def _object(phrase: str) -> str:
    _, _, rest = phrase.partition(" ")
    return _without(_DETERMINER, _without(_FILLER, rest))


def _head(thing: str) -> str:
    """The first words, up to what tells more of it."""
    thing = _without(_DETERMINER, _OWNER.sub("", thing, count=1))
    return COMPOUND.sub("", " ".join(_HEAD_END.split(thing, maxsplit=1)[0].split()[:4]))


def _merit(polarity: Polarity | None) -> Quality | None:
    return None if polarity is None else "good" if polarity == "positive" else "bad"


def _blamed(quality: Quality | None) -> Polarity | None:
    """The polarity of saying that something of this quality is done."""
    return None if quality is None else "positive" if quality == "good" else "negative"


def _opposite(quality: Quality | None) -> Polarity | None:
    """The polarity of saying that a thing of this quality is absent."""
    if quality is None:
        return None
    return "positive" if quality == "bad" else "negative"


def _without(pattern: re.Pattern[str], text: str) -> str:
    while match := pattern.match(text):
        text = text[match.end() :]
    return text
