"""Words by what they say of an answer: of what it does, what it is like and what it holds."""

from __future__ import annotations

import re


def words(stems: str) -> re.Pattern[str]:
    """Matches a word that begins with one of the stems; a stem that ends in `.` is a whole word."""
    forms = [
        re.escape(stem[:-1]) + r"\b" if stem.endswith(".") else re.escape(stem) + r"\w*"
        for stem in stems.split()
    ]
    return re.compile(r"\b(?:" + "|".join(forms) + ")")


# What a good response does: not doing it is a failure.
GOOD_VERB = words(
    "account acknowledg address adhere advis answer ask assess avoid calculat caution check cite "
    "clarif clear communicat compar complet comput connect consider contrast convert convey "
    "correct. correcting corrects cover defin deriv describ detail determin differentiat direct "
    "discuss distinguish elaborat emphasi encourag ensur evaluat examin explain explor express "
    "follow. following follows give gives giving guid help highlight identif illustrat includ "
    "incorporat indicat inform instruct integrat justif label link list. listing lists mention "
    "monitor name names naming note notes noting offer organi outlin point prevent prioriti "
    "provid quantif reach recogni recommend refer reflect refrain relat remind respect rule seek "
    "seeks show shows specif stress structur summari support tailor take takes tell tells underst "
    "understand urg verif warn"
)
# Of the good verbs, those that are as often about a wrong option as about what was needed.
EITHER_WAY = words(
    "advis cite describ discuss encourag focus give gives giving identif includ indicat instruct "
    "label link list. listed listing lists mention name. named names naming note. noted notes "
    "noting offer point present provid recommend refer report said. say says show shows specif "
    "state states stating suggest use uses using"
)
# What follows such a verb where it was needed: a fact, or something that every answer owes.
OWED = re.compile(
    r"\w+ (?:(?:on|to|about|of) )?(?:(?:the|an?|any|its?|his|her|their|clear|enough) )*"
    r"(?:that (?!is\b)|how|why|when|whether|need|importance|risk|possib|potential|reason|warning|"
    r"sign|symptom|side effect|adverse|information|limit|uncertain|follow-up|justif|evidence|"
    r"explanation|next step|advice on|user to|patient to)"
)
THAT_OFTEN_CLAIMED = re.compile(r"(?:suggest|stat|indicat|recommend|advis)\w* that\b")
STRESSED = re.compile(r"(?:explicitly|even|specifically|at all|attempt to|try to) ")
# Answers of a multiple choice: naming several of them as right is the usual slip.
OPTIONS = re.compile(r"\([a-h]\),? .*\([a-h]\)|\boptions? [a-h]\b.* (?:or|and) [a-h]\b")
# Good verbs that deliver something, which may itself be bad ("provides incorrect doses").
DELIVERS = words(
    "add. added adds advis appl cite conclu contain describ discuss draw encourag focus give "
    "gives giving includ introduc list. listed listing lists made. make makes making offer. "
    "offered offers order. ordered orders prescrib present propos provid quot rais recommend. "
    "recommended recommending recommends refer relied relies rely relying repeat resort spread "
    "state. stated states stating suggest use used uses using"
)
# What a bad response does: not doing it is what is asked.
BAD_VERB = words(
    "assert. asserting asserts assum attribut blam blur breach claim conflat confus contradict "
    "delay deviat dismiss disregard distort double downplay embellish endors equat exaggerat "
    "extrapolat fabricat fail forget generali guess hallucinat ignor implies imply implying "
    "invent jump lack lose loses losing lost. minimi mis mistak mix muddl neglect obscur lost. "
    "omit overcomplicat overemphasi overestimat overgenerali overlook oversimplif overstat rambl "
    "rush scar skip speculat stray trivial underestimat undermin underplay understat violat"
)
# Affirmed of a pitfall, these say what the failure is.
ASSERTS = words(
    "advis advocat argu concentrat conclud declar encourag focus insist instruct jump prescrib "
    "promot propos recommend. recommending recommends relies rely relying suggest tell tells "
    "treating treats urg"
)
SPARES = words("abstain avoid escap exclud. guard refrain stay. staying stays steer")
BAD_ADVERB = words(
    "blindly carelessly erroneously excessively exclusively falsely improperly inaccurately "
    "inappropriately incorrectly just. merely misleadingly mistakenly needlessly only. "
    "overconfidently overly prematurely simply. solely too. unduly unjustifiably unnecessarily "
    "unrealistically unsafely vaguely wrongly"
)
GOOD_ADVERB = words(
    "accurately adequately appropriately carefully clearly completely comprehensively concisely "
    "consistently correctly effectively fully precisely properly responsibly rightly safely "
    "sufficiently thoroughly"
)
# Of the good adverbs, those that praise whatever follows; the others only say how much of it.
RIGHTLY = words("accurately appropriately correctly properly responsibly rightly safely")
# What an answer should talk about: avoiding that evades the question.
SPEAKS = words(
    "acknowledg address answer ask clarif consider discuss elaborat explain explor inform mention "
    "quantif recogni talk. talking talks tell warn"
)
TOPIC = words(
    "acknowledgment consideration discussion explanation issue mention question subject topic"
)
WITHHOLDS = words("ceas delay discontinu postpon quit skip stop wait withh")
BAD_WORD = words(
    "alarming alarmist ambiguous arbitrary baseless biased bogus circular condescen conflicting "
    "confusing contradict contraindicated dangerous digress disorgani distract erroneous error "
    "exaggerat excessive extra. extraneous fabricated false faulty fictitious flawed generic "
    "hallucinat harmful illogical inaccura inadequate inappropriate incoherent incomplete "
    "inconsisten incorrect insensitive insufficient invalid invented irrelevant jargon judgmental "
    "lacking made-up misconcept misinform mislead misquot misstate mistak needless nonexistent "
    "nonsens off-topic outdated over- overly premature redundan repetit rude simplistic speculat "
    "superficial superfluous sweeping tangential too. unclear unfounded unhelpful unjustified "
    "unnecessar unneeded unproven unreali unrelated unsafe unscientific unsubstantiated "
    "unsupported untested unverified unwarranted vague wrong"
)
# Of these, what a text alone can be; the others may be said of what it speaks of, such as
# excessive bleeding, of which an answer may well be asked to speak.
OF_A_TEXT = words(
    "alarmist ambiguous baseless bogus circular condescen contradict digress distract erroneous "
    "exaggerat extraneous fabricated faulty fictitious hallucinat illogical inaccura incoherent "
    "incorrect invented irrelevant jargon judgmental made-up misinform mislead misquot misstate "
    "mistak nonexistent nonsens off-topic outdated redundan repetit rude simplistic speculat "
    "superfluous sweeping tangential unfounded unhelpful unjustified unnecessar unneeded unproven "
    "unrelated unscientific unsubstantiated unsupported untested unverified unwarranted wrong"
)
# Things that a text holds, so that a bad word before one of them is said of the text.
TEXT_PART = words(
    "advice analog assertion assumption answer apolog argument assurance citation claim comment "
    "comparison conclusion detail explanation formula generali inference instruction "
    "interpretation language phras promise quotation reasoning reassurance recommendation "
    "reference remark remed statement step suggestion term terms. unit units. wording"
)
# What a good text never wants for, in one word.
VIRTUE = words(
    "clarity coherence compassion context depth detail empath justification logic nuance "
    "precision rationale rigor rigour structure units. warmth"
)
DUE = words("crucial essential important indicated. key. main. necessary needed relevant required")
GOOD_WORD = words(
    "accurate actionable adequate appropriate careful clear coherent complete comprehensive "
    "concise consistent correct detailed empathetic evidence relevant safe specific sufficient "
    "supported tailored thorough understandable well-organi"
)
MENTION = words(
    "acknowledg advice answer attempt citation citing clarification connection consideration "
    "details discussion effort evidence example explanation guidance indication information "
    "instruction justification mention reasoning recommendation reference steps support warning"
)

# A measure of it is no error.
COMPOUND = re.compile(r"\b(?:bias|error|mistake) (?=[a-z])")
# Verbs of naming: what they name may be bad in the world, where it must be named.
NAMES = words(
    "cite consider describ discuss explor give given gives giving includ introduc list. listed "
    "listing lists mention name. named names naming note. noted notes noting outlin present. "
    "presented presents provid rais refer report said. show state. stated states stating talk"
)
# What such verbs hand over: where that is an explanation or the like, it is owed.
GIVES = words("contain gave give giving has. have. includ made. make makes making offer provid")
# Doing these to a fault is good, and to what is superfluous it is not.
DWELLS = words("acknowledg address clarif defin explain")
SUPERFLUOUS = words(
    "digress distract extra. extraneous irrelevan needless off-topic redundan repetit superfluous "
    "tangential unnecessar unneeded unrelated"
)
# Where these are bad they are so in the world, and an answer may well be asked to talk of them.
HARMFUL = words("contraindicated dangerous harmful toxic unsafe")
# What a text does not hold: as good as the thing is bad.
LACKS = words("absen devoid free. lack without")
# What none misses.
FLAW = words("alarming bias error fault. faults flaw inconsisten misconcept too.")
# What was left out of a text by the one who wrote it: a thing that was due, unless it is bad.
OMITS = words("drop exclud leave. leaves leaving left. missing. omission omit skip")
# Not heeding a fault does not undo it.
OVERLOOKS = words("disregard forget forgo ignor miss. missed misses neglect overlook")
# Telling what is so; a "should" in what is told is no demand on the one who tells.
TELLS = words(
    "advis argu assert believ claim conclud declar explain feels finds hold. holding holds impl "
    "insist maintain mention notes noting observ recommend report says saying state. states "
    "stating suggest teach tell. telling tells thinks warn write. writes writing wrote"
)
