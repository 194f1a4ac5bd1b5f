"""The words in which the judge is asked which of two responses is better."""

from __future__ import annotations

from typing import Final

RULES: Final = """\
You compare two of an assistant's responses to the same conversation by one question.

How to decide:
- The question alone counts. What it does not ask about, such as length or confidence, makes
  neither response better.
- The order in which the two are shown is chance.
- The conversation is context. Judge what the responses themselves say, not what they promise or
  meant.
- Say "tie" where neither is better by the question, and only there.
"""

BLOCKS: Final = "The conversation, the two responses and the question"
"""Parts of the message, in their order."""


def form(reason: str) -> str:
    """The three replies that there are.

    Args:
        reason: text before the verdict in each.
    """
    meanings = {
        "A": "response A is better",
        "B": "response B is better",
        "tie": "neither is better",
    }
    return "\n".join(f'{{{reason}"better": "{w}"}} if {m}' for w, m in meanings.items())
