"""The program in an answer."""

from __future__ import annotations

import re
from typing import Final

_FENCED: Final = re.compile(
    r"^[ \t]*(?P<fence>`{3,}|~{3,})[ \t]*(?P<language>[\w+.-]*)[^\n`]*\n(?P<code>.*?)"
    r"(?:^[ \t]*(?P=fence)[ \t]*$|\Z)",
    re.MULTILINE | re.DOTALL,
)
_PYTHON: Final = ("python", "python3", "py", "")


def program_in(text: str) -> str:
    """The last block in fences that is marked as Python or not marked; without fences, the text."""
    blocks = list(_FENCED.finditer(text))
    if not blocks:
        return text
    found = [each["code"] for each in blocks if each["language"].lower() in _PYTHON]
    return found[-1] if found else ""
