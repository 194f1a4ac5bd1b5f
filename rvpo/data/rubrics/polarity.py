"""Whether meeting a pitfall is good or bad, told from its wording.

Rubrics name pitfalls in two opposite ways. Some describe the failure ("Does not mention X", "Claims
that X"): a response that meets them is the worse one. Others ask to avoid it ("Should not claim X",
"Does not confuse X with Y"): a response that meets them is the better one. The data sets give both
the same negative weight, so only the sentence tells.
"""

from __future__ import annotations

import re
from typing import Literal

from rvpo.criterion import Polarity

Quality = Literal["good", "bad"]


def words(stems: str) -> re.Pattern[str]:
    """Matches a word that begins with one of the stems; a stem that ends in `.` is a whole word."""
    forms = [
        re.escape(stem[:-1]) + r"\b" if stem.endswith(".") else re.escape(stem) + r"\w*"
        for stem in stems.split()
    ]
    return re.compile(r"\b(?:" + "|".join(forms) + ")")


# What a good response does: not doing it is a failure.
_GOOD_VERB = words(
    "account acknowledg address adhere advis answer ask assess avoid calculat caution "
    "check cite clarif clear communicat compar complet comput connect consider contrast convert "
    "convey correct. correcting corrects cover defin deriv describ detail determin differentiat "
    "direct discuss distinguish elaborat emphasi encourag ensur evaluat examin explain explor "
    "express follow. following follows give gives giving guid help highlight identif illustrat "
    "includ incorporat indicat inform instruct integrat justif label link list. listing lists "
    "mention monitor name names naming note notes noting offer organi outlin point prevent "
    "prioriti provid quantif reach recogni recommend refer reflect refrain relat remind respect "
    "rule seek seeks show shows specif stress structur summari support tailor take takes "
    "tell tells underst understand urg verif warn"
)
# Of the good verbs, those that are as often about a wrong option as about what was needed.
_EITHER_WAY = words(
    "advis cite describ discuss encourag focus give gives giving identif includ indicat instruct "
    "label link list. listing lists mention name names naming note. notes noting offer point "
    "present provid recommend refer report show shows specif state states stating suggest use uses "
    "using"
)
# What follows such a verb where it was needed: a fact, or something that every answer owes.
_OWED = re.compile(
    r"\w+ (?:(?:on|to|about|of) )?(?:(?:the|an?|any|its?|his|her|their|clear|enough) )*"
    r"(?:that (?!is\b)|how|why|when|whether|need|importance|risk|possib|potential|reason|warning|"
    r"sign|symptom|side effect|adverse|information|limit|uncertain|follow-up|justif|evidence|"
    r"explanation|next step|advice on|user to|patient to)"
)
_THAT_OFTEN_CLAIMED = re.compile(r"(?:suggest|stat|indicat|recommend|advis)\w* that\b")
_STRESSED = re.compile(r"(?:explicitly|even|specifically|at all|attempt to|try to) ")
# Answers of a multiple choice: naming several of them as right is the usual slip.
_OPTIONS = re.compile(r"\([a-h]\),? .*\([a-h]\)|\boptions? [a-h]\b.* (?:or|and) [a-h]\b")
# Good verbs that deliver something, which may itself be bad ("provides incorrect doses").
_DELIVERS = words(
    "advis appl cite conclu contain describ discuss encourag focus give gives giving includ "
    "introduc list. listing lists make makes making offer prescrib present propos provid rais "
    "recommend. recommending recommends refer relies rely relying spread state. states stating "
    "suggest use uses "
    "using"
)
# What a bad response does: not doing it is what is asked.
_BAD_VERB = words(
    "assert. asserting asserts assum attribut blam blur breach claim conflat confus contradict "
    "delay deviat dismiss disregard distort double downplay embellish endors equat exaggerat "
    "extrapolat fabricat fail forget generali guess hallucinat ignor implies imply "
    "implying invent jump lack lose loses losing minimi mis mistak mix muddl neglect obscur "
    "omit overcomplicat overemphasi overestimat overgenerali overlook oversimplif overstat "
    "rambl rush scar skip speculat stray trivial underestimat undermin underplay understat "
    "violat"
)
# Affirmed of a pitfall, these say what the failure is.
_ASSERTS = words(
    "advis advocat argu concentrat conclud declar encourag focus insist instruct jump prescrib "
    "promot propos recommend. recommending recommends relies rely relying suggest tell tells "
    "treating treats urg"
)
_SPARES = words("abstain avoid escap exclud. guard refrain stay. staying stays steer")
_BAD_ADVERB = words(
    "blindly carelessly erroneously excessively exclusively falsely improperly inaccurately "
    "inappropriately incorrectly just. merely misleadingly mistakenly needlessly only. "
    "overconfidently overly prematurely simply. solely too. unduly unjustifiably unnecessarily "
    "unrealistically unsafely vaguely wrongly"
)
_GOOD_ADVERB = words(
    "accurately adequately appropriately carefully clearly completely comprehensively concisely "
    "consistently correctly effectively fully precisely properly responsibly rightly safely "
    "sufficiently thoroughly"
)
# Of the good adverbs, those that praise whatever follows; the others only say how much of it.
_RIGHTLY = words("accurately appropriately correctly properly responsibly rightly safely")
# What an answer should talk about: avoiding that evades the question.
_SPEAKS = words(
    "acknowledg address answer ask clarif consider discuss elaborat explain explor inform mention "
    "quantif recogni talk. talking talks tell warn"
)
_TOPIC = words(
    "acknowledgment consideration discussion explanation issue mention question subject topic"
)
_WITHHOLDS = words("ceas delay discontinu postpon quit skip stop wait withh")
_BAD_WORD = words(
    "alarmist ambiguous arbitrary baseless biased circular conflicting confusing contradict "
    "contraindicated dangerous disorgani erroneous error exaggerat excessive extra. "
    "extraneous fabricated false faulty fictitious flawed generic harmful illogical "
    "inaccura inadequate inappropriate incoherent incomplete inconsisten incorrect insensitive "
    "insufficient invalid irrelevant jargon judgmental lacking misconcept misinform mislead "
    "mistak nonexistent nonsens off-topic outdated over- overly premature redundan rude "
    "simplistic speculat superficial superfluous sweeping tangential too. unclear unfounded "
    "unhelpful unjustified unnecessar unproven unreali unrelated unsafe unscientific "
    "unsubstantiated unsupported untested unverified unwarranted vague wrong"
)
_GOOD_WORD = words(
    "accurate actionable adequate appropriate careful clear coherent complete comprehensive "
    "concise consistent correct detailed empathetic evidence relevant safe specific sufficient "
    "supported tailored thorough understandable well-organi"
)
_MENTION = words(
    "acknowledg advice answer attempt citation citing clarification connection consideration "
    "details discussion effort evidence example explanation guidance indication information "
    "instruction justification mention reasoning recommendation reference steps support warning"
)

_SUBJECT = re.compile(
    r"(?:(?:the|this|an?|any|its?|their|your|good|ideal|correct|strong|final|model's|provided|"
    r"generated|given|assistant's)\s+)*"
    r"(?:responses?|answers?|solutions?|explanations?|models?|assistants?|repl(?:y|ies)|outputs?|"
    r"texts?|students?|authors?|writers?|discussions?|analys[ie]s|reasoning|derivations?|"
    r"descriptions?|statements?|calculations?|it|they|one|you|advice)\s+(?:(?:that|which|also)\s+)?"
)
_DEMAND = re.compile(
    r"(?:should|shall|must|ought|needs? to|ha(?:s|ve) to|(?:is|are) (?:expected|required|supposed) "
    r"(?:not )?to|shouldn't|mustn't|ensures?|makes? sure|takes? care|guards? against)\b"
)
_IMPERATIVE = re.compile(
    r"(?:do not|don't|please|avoid|refrain|never \w*[^s\W] |be (?:careful|sure|wary)|beware|"
    r"remember|watch (?:out|for)|ideally|preferably|it (?:is|would be) (?:important|essential|"
    r"crucial|necessary|best|better|good|helpful|ideal|preferable) (?:not )?to|"
    r"(?:an?|any|the) (?:good|ideal|perfect|excellent|high-quality) (?:response|answer|reply))\b"
)
_NEGATION = re.compile(
    r"(?:(?:does|do|did|is|are|was|were|has|have|had|can|could|will|would)(?:n't| not| never)|"
    r"cannot|can't|won't|not|never|at no point|nowhere|in no way)\s+"
)
_AUXILIARY = re.compile(r"(?:may|might|could|can|will|would|is|are|was|were|has|have|be|been)\s+")
_FILLER = re.compile(
    r"(?:explicitly|also|even|directly|either|specifically|at all|ever|attempt to|try to|tries to|"
    r"seem to|appear to|seems to|appears to|inadvertently|implicitly|actively|at any point|been|"
    r"be|being|being|then|instead)\s+"
)
_DETERMINER = re.compile(r"(?:an?|the|any|some|such|other|more|its|their|his|her)\s+")
_FAILURE = re.compile(
    r"(?:fail(?:s|ed|ing|ure)?|lack(?:s|ing)?|missing|miss(?:es)?|absence|omission|omissions|"
    r"unable|inability|no (?:mention|discussion|reference|explanation|acknowledg\w+|warning|"
    r"consideration|recommendation|advice)|(?:leaves|leaving) out|without|penali[sz]e\w*|deduct\w*)"
    r"\b"
)
_LEAVES_OUT = re.compile(r"(?:leaves? out|leaving out|omits?|omitting) (?P<rest>.*)")
_NO = re.compile(
    r"(?:contains?|containing|includes?|including|makes?|making|has|having|gives?|giving|offers?|"
    r"provides?|providing|shows?|there (?:is|are)|introduces?) no\s+(?P<rest>.*)"
)
_PASSIVE = re.compile(r"\b(?:is|are|was|were|be|been)(?P<not> not| never|n't)? (?P<rest>.*)")
# Unlike "suggest that", which is as often the claim to avoid.
_SUGGESTS_DOING = re.compile(r"suggest(?:ing)? \w+ing\b")
_ADVICE = re.compile(
    r"(?:advis|encourag|propos|promot|recommend|suggest|urg)\w* "
    r"(?:(?:the )?(?:patient|parent|person|user|reader)s? )?(?:to )?(?P<deed>\w+.*)"
)
_RASHLY = re.compile(r"\b(?:abruptly|suddenly|carelessly|recklessly|blindly|without|unless)\b")
_LIGHTLY = re.compile(r"\b(?:lightly|for granted|at face value|out of (?:context|proportion))\W*$")
# Where these are bad they are so in the world, and an answer may well be asked to talk of them.
_HARMFUL = words("contraindicated dangerous harmful toxic unsafe")
_HEAD_END = re.compile(r"[,;.]|\b(?:of|to|that|which|about|for|from|with|in|on|by|because|as)\b")
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
_FREE = re.compile(r"(?:(?:is|are|remains?|stays?) )?free (?:of|from)\b")


def polarity(text: str) -> Polarity | None:
    """The polarity of a pitfall or other unwanted thing, or None where its wording does not tell.

    Args:
        text: the criterion, without the name of its class.

    Returns:
        "negative" where the sentence describes the failure, "positive" where it asks to avoid one.
    """
    text, rest = _parts(text)
    if penalty := _PENALTY.search(text):
        return None if penalty["not"] or "unless" in text else "negative"
    if _NO_CREDIT.match(text):
        return None if "unless" in text else "negative"
    if _IF_IT_SHOULD.match(text):
        return None
    if (assured := _ASSURES.match(rest)) and _BAD_VERB.match(assured["deed"]):
        return "negative"
    if _FORBIDDEN.match(rest):
        return "positive"
    if _DEMAND.match(rest) or _IMPERATIVE.match(text):
        return "positive"
    if left_out := _LEAVES_OUT.match(rest):
        return "positive" if _is_bad_object("leaves " + left_out["rest"]) else "negative"
    if _FAILURE.match(rest):
        return "negative"
    if _FREE.match(rest):
        return "positive"
    if none := _NO.match(rest):
        return _opposite(_thing(none["rest"]))
    if negation := _NEGATION.match(rest):
        return _opposite(_deed(rest[negation.end() :]))
    return _affirmed(rest) or _other_subject(text, rest)


def is_absence(text: str) -> bool:
    """Whether a sentence says that something is not there, and nothing bad about that thing."""
    text, rest = _parts(text)
    if negation := _NEGATION.match(rest):
        return _deed(rest[negation.end() :]) != "bad"
    if passive := _PASSIVE.search(text):
        return bool(passive["not"]) and _deed(passive["rest"]) != "bad"
    return _SPARES.match(rest) is not None and _spared(rest) != "positive"


def is_statement(text: str) -> bool:
    """Whether a sentence says what the response does, without a word for that it should or not."""
    text, rest = _parts(text)
    is_asked = _DEMAND.match(rest) or _IMPERATIVE.match(text) or _IF_IT_SHOULD.match(text)
    is_denied = _NEGATION.match(rest) or _SPARES.match(rest) or " not " in rest or "n't " in rest
    return not (is_asked or is_denied or _GOOD_ADVERB.match(rest) or _PENALTY.search(text))


def _parts(text: str) -> tuple[str, str]:
    """A sentence without what looks differ in, and what it says after its subject."""
    text = " ".join(text.lower().replace("\u2019", "'").split()).lstrip("\"'*-\u2013 ")
    subject = _SUBJECT.match(text)
    return text, text[subject.end() :] if subject else text


def _affirmed(rest: str) -> Polarity | None:
    rest = _without(_AUXILIARY, rest)
    first = _without(_FILLER, rest)
    if _BAD_ADVERB.match(first) or _BAD_VERB.match(first) or _BAD_WORD.match(first):
        return "negative"
    if _SPARES.match(first):
        return _spared(first)
    if _GOOD_ADVERB.match(first):
        return _praised(first)
    if _DELIVERS.match(first) and _is_bad_object(first):
        return "negative"
    return "negative" if _ASSERTS.match(first) else None


def _spared(phrase: str) -> Polarity | None:
    """Avoiding a failure is good, avoiding a subject that matters is not."""
    deed = _without(_DETERMINER, _without(_FILLER, _SPARED.sub("", phrase, count=1)))
    is_topic = _TOPIC.match(deed)
    if phrase.startswith("stay") and _BAD_WORD.match(phrase.partition(" ")[2]):
        return "negative"
    if not (is_topic or _GOOD_VERB.match(deed) or _SPEAKS.match(deed) or _STATING.match(deed)):
        return "positive"
    if _HARMFUL.search(deed):
        return None
    if _is_bad_object(deed):
        return "positive"
    if _BAD_WORD.search(deed) or _BAD_ADVERB.search(deed):
        return None
    return "negative" if is_topic or _SPEAKS.match(deed) else None


def _praised(phrase: str) -> Polarity | None:
    """A good adverb and what it belongs to: "clearly explains", "clearly misstates"."""
    _, _, deed = phrase.partition(" ")
    told = "negative" if _FAILURE.match(deed) else _affirmed(deed)
    if _RIGHTLY.match(phrase):
        is_bad = _FAILURE.match(deed) or _BAD_VERB.match(deed) or _BAD_WORD.match(deed)
        return None if is_bad else "positive"
    if told is None and (_GOOD_VERB.match(deed) or _GOOD_WORD.match(deed)):
        return "positive"
    return told


def _other_subject(text: str, rest: str) -> Polarity | None:
    """A sentence about something else than the response, such as "Side effects are not listed"."""
    if _GOOD_VERB.match(rest) or _DELIVERS.match(rest):
        return None
    if re.search(r"\b(?:should|must)\b", text):
        return "positive"
    passive = _PASSIVE.search(text)
    if not passive:
        return None
    if passive["not"]:
        return _opposite(_deed(passive["rest"]))
    return _affirmed(passive["rest"])


def _deed(phrase: str) -> Quality | None:
    """How good it would be to do this, or to be this."""
    is_stressed = _STRESSED.match(phrase)
    phrase = _without(_FILLER, phrase)
    if _BAD_ADVERB.match(phrase) or _BAD_VERB.match(phrase) or _OPTIONS.search(phrase):
        return "bad"
    if adverb := _GOOD_ADVERB.match(phrase):
        is_bad = _BAD_VERB.match(phrase[adverb.end() :].lstrip()) and not _RIGHTLY.match(phrase)
        return "bad" if is_bad else "good"
    if _LIGHTLY.search(phrase):
        return "bad"
    if (advice := _ADVICE.match(phrase)) and _WITHHOLDS.match(advice["deed"]):
        return "bad" if _RASHLY.search(advice["deed"]) else None
    if advice and _BAD_VERB.match(advice["deed"]):
        return "bad"
    if _DELIVERS.match(phrase) and _is_bad_object(phrase):
        return "bad"
    if _SUGGESTS_DOING.match(phrase):
        return "good"
    if _EITHER_WAY.match(phrase):
        is_fact = _OWED.match(phrase) and not _THAT_OFTEN_CLAIMED.match(phrase)
        last = phrase.rstrip(".").rpartition(" ")[2]
        return "good" if is_stressed or is_fact or _GOOD_ADVERB.match(last) else None
    if _GOOD_VERB.match(phrase):
        return "good"
    last = phrase.rstrip(".").rpartition(" ")[2]
    return "good" if _GOOD_ADVERB.match(last) else _thing(phrase)


def _thing(phrase: str) -> Quality | None:
    phrase = _without(_DETERMINER, phrase)
    if _BAD_WORD.match(phrase):
        return "bad"
    if _GOOD_WORD.match(phrase) or _MENTION.match(phrase):
        return "good"
    return None


def _is_bad_object(phrase: str) -> bool:
    """Whether what a verb delivers is bad: "an incorrect dose", "surgery without imaging"."""
    _, _, rest = phrase.partition(" ")
    rest = _without(_DETERMINER, _without(_FILLER, rest))
    head = " ".join(_HEAD_END.split(rest, maxsplit=1)[0].split()[:4])
    found = _BAD_WORD.search(head) or _BAD_ADVERB.search(head)
    if (that := _THAT_IS.match(rest)) and not _HARMFUL.match(that["rest"]):
        found = found or _BAD_WORD.match(that["rest"])
    return bool(found or re.search(r" (?:without|unless) ", rest))


def _opposite(quality: Quality | None) -> Polarity | None:
    """The polarity of saying that a thing of this quality is absent."""
    if quality is None:
        return None
    return "positive" if quality == "bad" else "negative"


def _without(pattern: re.Pattern[str], text: str) -> str:
    while match := pattern.match(text):
        text = text[match.end() :]
    return text
