"""The README and the pages of `docs/`, and what they show."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[1]
PAGES = (ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md")))


@dataclass(frozen=True)
class Block:
    """A fenced block of a page."""

    page: str
    """Its path in the repository."""
    line: int
    language: str
    code: str

    @property
    def file(self) -> str | None:
        """The file that a Python block is, by the comment it begins with."""
        named = re.match(r"# (\S+\.py)\n", self.code)
        return named[1] if named else None

    def __str__(self) -> str:
        return f"{self.page}:{self.line}"


def text_of(page: Path) -> str:
    return page.read_text(encoding="utf-8")


def blocks(language: str) -> list[Block]:
    """The blocks of all pages in a language, in order."""
    found = []
    for page in PAGES:
        text = text_of(page)
        for match in re.finditer(rf"^```{language}\n(.*?)^```", text, re.DOTALL | re.MULTILINE):
            line = text.count("\n", 0, match.start()) + 1
            found.append(Block(str(page.relative_to(ROOT)), line, language, match[1]))
    return found


def block(language: str, containing: str) -> Block:
    """The one block that holds a text."""
    (found,) = [each for each in blocks(language) if containing in each.code]
    return found


def spans() -> Iterator[tuple[str, str]]:
    """(page, code) of every code span outside blocks."""
    for page in PAGES:
        prose = re.sub(r"^```.*?^```", "", text_of(page), flags=re.DOTALL | re.MULTILINE)
        for code in re.findall(r"`([^`]+)`", prose):
            yield str(page.relative_to(ROOT)), " ".join(code.split())


def commands(program: str) -> list[tuple[str, ...]]:
    """The arguments of every command that a page shows, each once."""
    shown = [code for _, code in spans()]
    for each in blocks("bash"):
        shown.extend(each.code.replace("\\\n", " ").splitlines())
    found = {}
    for line in shown:
        words = shlex.split(line, comments=True) if line.count("'") % 2 == 0 else []
        if len(words) > 1 and words[0].removeprefix(".venv/bin/") == program:
            found[tuple(words[1:])] = None
    return list(found)
