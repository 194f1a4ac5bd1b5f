"""The grade that a judge expects: the mean of all grades, by its own log-probabilities.

A judge that writes one grade hides how sure it is. Where the endpoint tells how probable the other
grades were at that place of the reply, their mean says more: fewer ties, less noise. (The idea is
G-Eval's, arXiv:2303.16634, which estimates the probabilities by sampling.)
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from rvpo.judge.types import Question
from rvpo.judge.verdict import spellings, value_place
from rvpo.scale import opening

OPTIONS: Final[Mapping[str, Any]] = {"logprobs": True, "top_logprobs": 20}
"""Fields of a request; 20 is the most that OpenAI gives, and vLLM where it is not told more."""

LEAST_MASS: Final = 0.5
"""Probability that all grades need together, at the place of the grade: with less of it the reply
might as well have gone on in another way, and nothing is known of their ratio."""

MOST_HIDDEN: Final = 0.05
"""Probability that grades may have beyond what is known of each: that of tokens which the endpoint
did not list, and of those that may begin several grades."""

_NEVER: Final = -1e9  # a log-probability as good as any lower one
_BROKEN: Final = "\ufffd"  # what a part of a character is decoded to


class Unweighable(ValueError):
    """Log-probabilities that do not tell how probable each grade is. Its text is a reason that
    repeats, to be counted."""


@dataclass(frozen=True, slots=True)
class _Token:
    """A token of the reply, and what might have stood in its place."""

    raw: bytes
    alternatives: Mapping[bytes, float]
    """Log-probability of each token, its own among them."""
    least: float
    """Probability of the least likely token that the endpoint lists; 1 where it lists none. The
    token that was drawn may be less likely than some that are not listed."""


def expected(question: Question, text: str, verdict: float, logprobs: Any) -> float:
    """Sum of p(grade) times its place over the sum of p(grade), in [0, 1].

    Args:
        question: the one that the reply answers.
        text: the reply.
        verdict: value that `read` made of it.
        logprobs: those of the reply's choice, as an OpenAI-compatible server gives them.

    Raises:
        Unweighable: there are none, or they do not tell.
    """
    tokens = list(_tokens(logprobs))
    if not tokens:
        raise Unweighable("no log-probabilities")
    shown, offset = value_place(question, text)
    token = _at(tokens, shown.encode(), offset)
    values = spellings(question)
    mass: dict[float, float] = {}
    doubtful = 0.0
    for other, logprob in token.alternatives.items():
        meant = _meant(other, values)
        if len(meant) == 1:
            (value,) = meant
            mass[value] = mass.get(value, 0.0) + math.exp(logprob)
        elif meant:
            doubtful += math.exp(logprob)
    total = sum(mass.values())
    unclear = total < LEAST_MASS or doubtful > MOST_HIDDEN
    if unclear or _meant(token.raw, values) != {verdict}:
        raise Unweighable("log-probabilities do not tell the grades apart")
    if doubtful + _hidden(token, len(set(values.values()) - mass.keys())) > MOST_HIDDEN:
        raise Unweighable("log-probabilities of too few tokens")
    return min(1.0, sum(value * share for value, share in mass.items()) / total)


def _hidden(token: _Token, unlisted: int) -> float:
    """Most probability that grades may have which are not among the alternatives, each of them
    less than the least that is listed."""
    chances = list(map(math.exp, token.alternatives.values()))
    if len(chances) < 2:  # of the chosen token alone, which says nothing of any other
        return 1.0
    return min(max(0.0, 1.0 - sum(chances)), unlisted * token.least)


def _at(tokens: Sequence[_Token], shown: bytes, offset: int) -> _Token:
    """The token that the verdict's value begins in.

    Args:
        shown: the end of the object that holds the verdict.
        offset: bytes of it before the value.
    """
    spelt = b"".join(token.raw for token in tokens)
    start = spelt.rfind(shown)  # what comes before may be thoughts, which spell verdicts too
    if start < 0:
        raise Unweighable("log-probabilities are of another text")
    left = start + offset
    for token in tokens:
        left -= len(token.raw)
        if left < 0:
            return token
    raise Unweighable("log-probabilities are of another text")


def _meant(token: bytes, values: Mapping[str, float]) -> set[float]:
    """The values that a token may begin: none, one or several."""
    text = token.decode("utf-8", "replace")
    word = opening(text)
    if not word:  # a quote or a space alone may stand before any of them
        return set(values.values()) if text else set()
    return {value for spelling, value in values.items() if _begins(word, opening(spelling))}


def _begins(word: str, spelling: str) -> bool:
    """True for a word that begins the spelling, or has it and what cannot belong to it."""
    if not word.startswith(spelling):
        whole = word.rstrip(_BROKEN)
        following = spelling[len(whole) : len(whole) + 1]
        # A part of a character may begin any that is none of ASCII.
        cut_there = whole == word or (following != "" and not following.isascii())
        return spelling.startswith(whole) and cut_there
    rest = word[len(spelling) :]
    if spelling[-1:].isdigit():  # 1.0 and 0.50 are read as 1 and 0.5
        rest = re.sub(r"^0+" if "." in spelling else r"^\.0*", "", rest)
    return not rest or not (rest[0].isalnum() or rest[0] in "._-")


def _tokens(logprobs: Any) -> Iterator[_Token]:
    """The tokens of a reply. What is not as it should be is an alternative less."""
    content = logprobs.get("content") if isinstance(logprobs, Mapping) else None
    for item in content if isinstance(content, list) else ():
        raw = _raw(item)
        others = item.get("top_logprobs") if isinstance(item, Mapping) else None
        alternatives: dict[bytes, float] = {}
        least = 1.0
        for other in (*(others if isinstance(others, list) else ()), item):
            logprob = other.get("logprob") if isinstance(other, Mapping) else None
            if isinstance(logprob, int | float) and logprob == logprob:  # and no NaN
                chance = max(_NEVER, min(0.0, logprob))
                alternatives[_raw(other)] = chance
                least = least if other is item else min(least, math.exp(chance))
        yield _Token(raw, alternatives, least)


def _raw(token: Any) -> bytes:
    """The bytes of a token, which may be a part of a character."""
    if not isinstance(token, Mapping):
        return b""
    given, text = token.get("bytes"), token.get("token")
    if isinstance(given, list) and all(type(b) is int and 0 <= b < 256 for b in given):
        return bytes(given)
    return text.encode("utf-8", "replace") if isinstance(text, str) else b""
