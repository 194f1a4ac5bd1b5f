"""Sheets as a judge reads them, and replies to them."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from typing import Any

Body = Mapping[str, Any]

_CRITERION = re.compile(r"^Criterion ([A-Z]+):\n(=+)\n(.*?)\n\2$", re.DOTALL | re.MULTILINE)


def criteria(body: Body) -> dict[str, str]:
    """The text of each label that a request asks for; nothing where it asks one question."""
    return {found[1]: found[3] for found in _CRITERION.finditer(_content(body))}


def shown(body: Body) -> dict[str, str]:
    """The message of each label's criterion, had it been asked alone."""
    content = _content(body)
    found = list(_CRITERION.finditer(content))
    return {
        each[1]: f"{content[: found[0].start()]}Criterion:\n{each[2]}\n{each[3]}\n{each[2]}"
        for each in found
    }


def verdicts(body: Body, truth: Callable[[str], bool], reason: str = "It says so.") -> str:
    """The reply to a sheet that says the truth on each criterion.

    Args:
        truth: the verdict on what the judge is shown where it is asked one alone.
    """
    said = {label: {"reason": reason, "met": truth(text)} for label, text in shown(body).items()}
    return json.dumps(said)


def _content(body: Body) -> str:
    return str(body["messages"][-1]["content"])
