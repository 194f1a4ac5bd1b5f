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
    content = body["messages"][-1]["content"]
    return {label: text for label, _, text in _CRITERION.findall(content)}


def verdicts(body: Body, truth: Callable[[str], bool], reason: str = "It says so.") -> str:
    """The reply to a sheet that says the truth on each criterion."""
    said = {label: {"reason": reason, "met": truth(text)} for label, text in criteria(body).items()}
    return json.dumps(said)
