"""A sentence about an answer, taken apart: whom it speaks of, what it says is done or is not done.

Passive and inverted sentences are told as active ones, a verb and then its object, so that one rule
reads "Does not mention X", "X is not mentioned", "No X is mentioned" and "Not once does the
response mention X".
"""

from __future__ import annotations

import re

from rvpo.rubrics.lexicon import DELIVERS, GOOD_VERB, TELLS

_ONCE = re.compile(r"\b(not|never)(?: even)? once\b")
_SUBJECT = re.compile(
    r"(?:(?:the|this|an?|any|its?|their|your|good|ideal|correct|strong|final|model's|provided|"
    r"generated|given|assistant's)\s+)*"
    r"(?:responses?|answers?|solutions?|explanations?|models?|assistants?|repl(?:y|ies)|outputs?|"
    r"texts?|students?|authors?|writers?|discussions?|analys[ie]s|reasoning|derivations?|"
    r"descriptions?|statements?|calculations?|it|they|one|you|advice)\s+(?:(?:that|which|also)\s+)?"
)
_INVERTED = re.compile(
    r"(?:not|never|nowhere|at no (?:point|stage|time)|in no way|under no circumstances) "
    r"(?:does|do|did|is|are|was|were|has|have|can|could|will|would) "
)
_NEGATION = re.compile(
    r"(?:(?:does|do|did|is|are|was|were|has|have|had|can|could|will|would)(?:n't| not| never)|"
    r"cannot|can't|won't|not|never|at no (?:point|stage|time)|nowhere|in no way)\s+"
)
_BE = r"(?:is|are|was|were|(?:has|have) been)"
_ADVERBS = r"(?:(?:even|ever|also|at all|being|\w+ly) )*"
_PASSIVE = re.compile(
    rf"(?P<thing>[^,;]+?) {_BE}(?P<not> not| never|n't)? (?P<deed>{_ADVERBS}[\w'-]+)(?P<tail>.*)"
)
_NONE_IS = re.compile(
    r"(?:no|none of|neither of|not (?:one|a single)(?: of)?) "
    rf"(?P<thing>[^,;]+?) {_BE} (?P<deed>{_ADVERBS}[\w'-]+)(?P<tail>.*)"
)
_NOTHING = re.compile(
    rf"nothing (?:(?:in|of) (?:(?:the|this|its) )?[\w'-]+ )?(?:{_BE} )?(?P<deed>.*)"
)
_DOES_NONE = re.compile(
    r"(?P<deed>[\w'-]+(?: out)?) (?:no|none(?: of)?|neither|nothing|"
    r"not (?:one|a single)(?: of)?)\s+(?P<thing>.*)"
)
_THERE_IS_NO = re.compile(rf"there {_BE} (?:no|not any) (?P<thing>.*)")
_ABSENT = re.compile(
    r"(?P<thing>[^,;]+?) (?:do|does|did)(?: not|n't) (?:appear|arise|exist|feature|occur)\b"
)
_GOES_UNDONE = re.compile(
    rf"(?P<thing>[^,;]+?) (?:{_BE} left|{_BE}|go(?:es)?|remains?) un(?P<deed>\w+ed)\b"
    r"(?=\W*$| (?:by|in)\b)"
)
_LEFT_UNDONE = re.compile(
    r"(?:leaves?|leaving) (?P<thing>(?!out\b)[^,;]+?) un(?P<deed>\w+ed)\b(?=\W*$| (?:by|in)\b)"
)
_SUBORDINATE = re.compile(r"\b(?:although|because|but|if|that|whether|which|while|who)\b")


def parts(text: str) -> tuple[str, str]:
    """A sentence without what looks differ in, and what it says after its subject."""
    text = " ".join(text.lower().replace("\u2019", "'").split()).lstrip("\"'*-\u2013 ")
    text = _ONCE.sub(r"\1", text)
    return text, _after_subject(text)


def denied(text: str, rest: str) -> str | None:
    """The deed that a sentence says is not done or not so; None where it denies nothing.

    Args:
        text: the first of its `parts`.
        rest: the second.
    """
    if inverted := _INVERTED.match(text):
        return _after_subject(text[inverted.end() :])
    if negation := _NEGATION.match(rest):
        return rest[negation.end() :]
    if re.search(r"\b(?:no|none|not|nothing)\b[^,;]* (?:but|except|other than)\b", text):
        return None
    if nothing := _NOTHING.match(rest):
        return nothing["deed"]
    if none := _NONE_IS.match(text):
        return _active(none)
    if none := _THERE_IS_NO.match(rest):
        return f"contains {none['thing']}"
    if (none := _DOES_NONE.match(rest)) and _counts(none):
        return f"{none['deed']} {none['thing']}"
    if _tells(text):
        return None
    passive = _PASSIVE.match(text)
    return _active(passive) if passive and passive["not"] and _is_whole(passive) else None


def told_of(text: str, rest: str) -> str | None:
    """The deed that a sentence says is done to another thing than the response; None without."""
    undone = _LEFT_UNDONE.match(rest) or _GOES_UNDONE.match(text)
    if undone and GOOD_VERB.match(undone["deed"]):
        return f"omits {undone['thing']}"
    if text == rest and (absent := _ABSENT.match(text)) and not _tells(text):
        return f"lacks {absent['thing']}"
    passive = _PASSIVE.match(text)
    if text != rest or _tells(text) or not passive or passive["not"] or not _is_whole(passive):
        return None
    return _active(passive)


def _tells(text: str) -> bool:
    """True where a sentence begins with a verb, so that "X is Y" in it is what the response
    says."""
    verb = TELLS.match(text) or GOOD_VERB.match(text) or DELIVERS.match(text)
    return verb is not None and not re.match(rf" (?:{_BE}|for|of)\b", text[verb.end() :])


def _is_whole(passive: re.Match[str]) -> bool:
    return not _SUBORDINATE.search(passive["thing"])


def _counts(none: re.Match[str]) -> bool:
    """Unlike "claims no benefit", which claims something."""
    is_silent = none["deed"].startswith("say") and re.match(r"(?:about|of|on)\b", none["thing"])
    return is_silent is not None and bool(is_silent or not TELLS.match(none["deed"]))


def _active(passive: re.Match[str]) -> str:
    return f"{passive['deed']} {passive['thing']}{passive['tail']}"


def _after_subject(text: str) -> str:
    subject = _SUBJECT.match(text)
    return text[subject.end() :] if subject else text
