"""The verdicts in the reply to a sheet, each for itself.

The reply is one object on the white list of `rvpo.judge.verdict`, with a flat object for each
label. A criterion has its verdict from the one place in the reply that names its label; what names
it twice, at any depth, or nowhere, leaves this criterion without one, and so does what a reply to
this criterion alone could not say. A label that is not of the sheet is nobody's. What is no such
object as a whole is the reply to none of them.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from typing import Any

from rvpo.judge.reply_object import Unreadable, flat, once, the_object
from rvpo.judge.types import Question
from rvpo.judge.verdict import key_of, read_members, schema


def sheet_schema(questions: Mapping[str, Question], reasons: bool) -> dict[str, Any]:
    """The JSON schema of the reply to a sheet, for endpoints that can hold a model to one.

    Args:
        questions: the question of each label.
        reasons: see `verdict.schema`.
    """
    return {
        "type": "object",
        "properties": {label: schema(q, reasons) for label, q in questions.items()},
        "required": list(questions),
        "additionalProperties": False,
    }


def read_sheet(
    questions: Mapping[str, Question], text: str, *, cut: bool = False
) -> dict[str, tuple[float, str] | Unreadable]:
    """The verdict of each label, or the reason that it has none, in time linear in the reply.

    Args:
        questions: the question of each label.
        text: the reply.
        cut: it ended at the token limit.

    Raises:
        Unreadable: the reply as a whole cannot be read.
    """
    key = key_of(next(iter(questions.values())))
    entries = the_object(text, key, cut=cut, value=flat)
    named = Counter(_label(name) for name, _ in entries)
    named.update(_label(name) for _, members in entries for name, _ in members)
    given = {_label(name): members for name, members in entries}
    found: dict[str, tuple[float, str] | Unreadable] = {}
    for label, question in questions.items():
        try:
            if label not in given:
                raise Unreadable("criterion left out")
            if named[label] > 1:
                raise Unreadable("criterion named twice")
            found[label] = read_members(question, once(given[label]))
        except Unreadable as error:
            found[label] = error
    return found


def _label(name: str) -> str:
    """A key as a label: how it is spelt matters less."""
    return name.strip().upper()
