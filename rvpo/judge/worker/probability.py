"""The grade that a judge expects: the mean of all grades, by its own log-probabilities.

A judge that writes one grade hides how sure it is. Where the endpoint tells how probable the other
grades were at that place of the reply, their mean says more: fewer ties, less noise. (The idea is
G-Eval's, arXiv:2303.16634, which estimates the probabilities by sampling.)
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from rvpo.judge.types import Question
from rvpo.judge.verdict import spellings, value_place

OPTIONS: Final[Mapping[str, Any]] = {"logprobs": True, "top_logprobs": 20}
"""Fields of a request; 20 is the most that OpenAI gives, and vLLM where it is not told more."""

LEAST_MASS: Final = 0.5
"""Probability that all grades need together, at the place of the grade: with less of it the reply
might as well have gone on in another way, and nothing is known of their ratio."""

MOST_HIDDEN: Final = 0.05
"""Probability that grades may have which the endpoint did not list."""

_NEVER: Final = -1e9  # a log-probability as good as any lower one
_AROUND: Final = " \t\r\n\"':"  # what may stand before a value in the same token


class Unweighable(ValueError):
    """Log-probabilities that do not tell how probable each grade is. Its text is a reason that
    repeats, to be counted."""


@dataclass(frozen=True, slots=True)
class _Token:
    """A token of the reply, and what might have stood in its place."""

    raw: bytes
    alternatives: Mapping[str, float]
    """Log-probability of each text, the token's own among them."""


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
    for other, logprob in token.alternatives.items():
        meant = _meant(other, values)
        if meant is not None:
            mass[meant] = mass.get(meant, 0.0) + math.exp(logprob)
    total = sum(mass.values())
    if _meant(token.raw.decode("utf-8", "replace"), values) != verdict or total < LEAST_MASS:
        raise Unweighable("log-probabilities do not tell the grades apart")
    if _hidden(token, len(set(values.values()) - mass.keys())) > MOST_HIDDEN:
        raise Unweighable("log-probabilities of too few tokens")
    return min(1.0, sum(value * share for value, share in mass.items()) / total)


def _hidden(token: _Token, unlisted: int) -> float:
    """Most probability that grades may have which are not among the alternatives, each of them
    less than the least of these."""
    chances = list(map(math.exp, token.alternatives.values()))
    if len(chances) < 2:  # of the chosen token alone, which says nothing of any other
        return 1.0
    return min(max(0.0, 1.0 - sum(chances)), unlisted * min(chances))


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


def _meant(token: str, values: Mapping[str, float]) -> float | None:
    """The value that a token begins, None for one that begins none, or several."""
    word = token.lstrip(_AROUND).casefold()
    if not word:
        return None
    meant = {
        value
        for spelling, value in values.items()
        if spelling.startswith(word)
        or (word.startswith(spelling) and not _goes_on(word[len(spelling)]))
    }
    return meant.pop() if len(meant) == 1 else None


def _goes_on(character: str) -> bool:
    return character.isalnum() or character in "._-"


def _tokens(logprobs: Any) -> Iterator[_Token]:
    """The tokens of a reply. What is not as it should be is an alternative less."""
    content = logprobs.get("content") if isinstance(logprobs, Mapping) else None
    for item in content if isinstance(content, list) else ():
        raw = _raw(item)
        others = item.get("top_logprobs") if isinstance(item, Mapping) else None
        alternatives: dict[str, float] = {}
        for other in (*(others if isinstance(others, list) else ()), item):
            logprob = other.get("logprob") if isinstance(other, Mapping) else None
            if isinstance(logprob, int | float) and logprob == logprob:  # and no NaN
                chance = max(_NEVER, min(0.0, logprob))
                alternatives[_raw(other).decode("utf-8", "replace")] = chance
        yield _Token(raw, alternatives)


def _raw(token: Any) -> bytes:
    """The bytes of a token, which may be a part of a character."""
    if not isinstance(token, Mapping):
        return b""
    given, text = token.get("bytes"), token.get("token")
    if isinstance(given, list) and all(type(b) is int and 0 <= b < 256 for b in given):
        return bytes(given)
    return text.encode("utf-8", "replace") if isinstance(text, str) else b""
