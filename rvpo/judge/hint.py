"""Advice about a judge that does not answer."""

from __future__ import annotations

import re
from string import Template
from typing import Final

from rvpo.config.judges import OWN
from rvpo.judge.spending import SPENT, UNNOTED

_KEY: Final = (
    "see that key_variable names the environment variable which holds this endpoint's key, and "
    "that the key may use this model"
)
_CREDIT: Final = "see to the credit and the limits of the account that the key belongs to"
_FEWER_LOGPROBS: Final = "set judge.extra_body={top_logprobs: N} to as many as it gives"
_NO_LOGPROBS: Final = (
    "grade: probability needs an endpoint that gives log-probabilities; write grade: verdict for "
    "the rewards that ask this judge, or ask another"
)
_REFUSED: Final = (
    ("top_logprobs.*(at most|less than|<=|maximum|between)", _FEWER_LOGPROBS),
    ("logprob", _NO_LOGPROBS),
    ("too large|too long|context length", "lower $judge.max_tokens or rollout's lengths"),
    (
        "max_tokens|max_completion_tokens",
        "set $judge.extra_body={max_tokens: null, max_completion_tokens: N}",
    ),
    ("temperature", "set $judge.extra_body={temperature: null}"),
)
_NO_ROUTE: Final = (
    "see that the server knows this model, and has the route below its url: vLLM has /classify and "
    "/score beside /v1, so that its url ends before that, and has them for a model served with "
    "--runner pooling, /score for one with a single label"
)
_HINTS: Final = {
    "no log-probabilities": _NO_LOGPROBS,
    "log-probabilities are of another text": _NO_LOGPROBS,
    "log-probabilities of too few tokens": _NO_LOGPROBS,
    "log-probabilities do not tell the grades apart": (
        "the judge would rather have said something else than a grade; give it $judge.structured: "
        "true, a better template, or write grade: verdict"
    ),
    "http 401": _KEY,
    "http 403": _KEY,
    "http 402": _CREDIT,
    "quota used up": _CREDIT,
    SPENT: "raise $judge.budget.dollars",
    UNNOTED: "see that the folder `spent` of the run or result is whole and can be written",
    "http 404": (
        "see that $judge.model is a name this endpoint knows, and that its url is the base "
        "address, such as https://api.openai.com/v1"
    ),
    "input too long": (
        "lower rollout.max_completion_tokens, or give a classifier that reads more tokens; an "
        "input is never cut off"
    ),
    "unknown host": "see that the endpoint's url is spelt right and can be reached from here",
    "connection": "see that the endpoint's url, with its port, is right and its server runs",
    "stray reply": (
        "the server, or a proxy before it, sends replies that nobody asked for: see to it, or ask "
        "another endpoint"
    ),
    "tls": "see whether the endpoint's url should begin with http:// or names another host",
}


def hint_of_scores(failure: str, detail: str, where: str = OWN) -> str:
    """Advice on a classifier's failed answer; see `hint`."""
    return _NO_ROUTE if failure == "http 404" else hint(failure, detail, where)


def hint(failure: str, detail: str, where: str = OWN) -> str:
    """Advice on a failed answer; empty where there is none.

    Args:
        failure: `Answer.failure`.
        detail: `Answer.detail`.
        where: the section of the judge.
    """
    return Template(_hint(failure, detail)).substitute(judge=where)


def _hint(failure: str, detail: str) -> str:
    if failure == "http 429" and "quota" in detail.lower():
        return _CREDIT
    if failure in ("http 400", "http 422"):
        return next((text for words, text in _REFUSED if re.search(words, detail.lower())), "")
    return _HINTS.get(failure, "")
