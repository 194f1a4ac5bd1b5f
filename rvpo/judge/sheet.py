"""A sheet: several criteria about one response, asked in one call.

Each criterion has a label that the reply has to name it by. A label is made of the digest under
which the criterion's verdict on this response is remembered, so nobody can guess it who does not
know both, it means nothing in the reply to another sheet, and a reply that counts the criteria
names none of them. The order is that of the digests: it differs from response to response, so that
no criterion stands first or beside the same other one throughout.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import replace
from itertools import chain, pairwise
from typing import Final, TypeVar

from rvpo.judge.prompt import block, chat, deciding, reply_form
from rvpo.judge.template import JudgeTemplate
from rvpo.judge.types import Job, Question

SHEET_VERSION: Final = "1"
"""Changes with every change of what a sheet says: its verdicts are filed under it."""

_LETTERS: Final = "BCDFGHJKLMNPQRSTVWXZ"  # no vowels, so that no label is a word
_LENGTH: Final = 5  # of a label: one in 3.2 million

_CHECK = """\
You judge an assistant's response by several sentences, the criteria, and say of each by itself
whether it is true of the response, or how far.

How to decide:
- Judge each criterion by itself, as if it were the only one. What another criterion says, or how
  you decided on it, is no evidence.
"""

_REPLY = """
Each criterion has a label, the letters in its title. Reply with one JSON object and nothing else:
it has one member for each criterion, in the order given. The member's name is the label, and its
value is
"""

T = TypeVar("T")


def company(question: Question) -> Question | None:
    """All that criteria of one call have in common; None of a question that is asked alone."""
    if question.kind != "criterion" or question.expected:
        return None
    return replace(question, text="")


def calls(
    items: Sequence[T], per_call: int | None, shared: Callable[[T], Question | None]
) -> list[list[T]]:
    """Items by the call that asks them, in their order: as few calls as possible, of about one
    size.

    Args:
        per_call: most criteria of a call; all that there are if None.
        shared: see `company`.
    """
    alone: list[list[T]] = []
    together: dict[Question, list[T]] = {}
    for item in items:
        common = shared(item)
        if common is None:
            alone.append([item])
        else:
            together.setdefault(common, []).append(item)
    parts = (divided(each, per_call or len(each)) for each in together.values())
    return [*alone, *chain.from_iterable(parts)]


def divided(items: Sequence[T], most: int) -> list[list[T]]:
    """Items in as few parts of at most `most` as possible, which differ by one at the utmost."""
    parts = -(-len(items) // most)
    size, longer = divmod(len(items), max(1, parts))
    ends = [index * size + min(index, longer) for index in range(parts + 1)]
    return [list(items[start:end]) for start, end in pairwise(ends)]


def labels(keys: Sequence[bytes]) -> tuple[str, ...]:
    """A label for each digest, no two alike: five letters, or more where those would not do.

    Args:
        keys: they differ.
    """
    digests = [hashlib.sha256(b"label" + key).digest() for key in keys]
    length = _LENGTH
    while len({_label(digest, length) for digest in digests}) < len(digests):
        length += 1
    return tuple(_label(digest, length) for digest in digests)


def sheet_messages(
    job: Job,
    questions: Sequence[Question],
    names: Sequence[str],
    reasons: bool,
    template: JudgeTemplate | None = None,
) -> list[dict[str, str]]:
    """The chat that asks several criteria about a response.

    Args:
        job: the conversation and the response.
        questions: criteria that may share a call, see `company`.
        names: the label of each.
        reasons: ask for the judge's reason before each verdict.
        template: see `prompt.messages`; the place of its criterion takes them all.

    Returns:
        A system and a user message, encodable as UTF-8.
    """
    first = questions[0]
    asked = [block(f"Criterion {name}", q.text) for name, q in zip(names, questions, strict=True)]
    return chat(
        job, first, _CHECK + deciding(first), _REPLY + reply_form(first, reasons), asked, template
    )


def _label(digest: bytes, length: int) -> str:
    return "".join(_LETTERS[byte % len(_LETTERS)] for byte in digest[:length])
